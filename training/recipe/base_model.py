"""The frozen base model: a Llama-type language model that takes LoRA matrices as plain tensors.

transformers loads the weights and is the reference (tests compare the two). The forward pass is written out here for two
reasons: LoRA matrices that a generator has just computed must take part in autograd, and rows that share their chat
template's beginning can share its computation. Tokens of all rows lie in one flat list, so that linear layers see no padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import native_dtype

# Modules of a layer in the order of weight tokens (design note on the paper's system, §3.2).
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj")
# Modules that read the same input are computed as one.
SITES = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "o": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}
PATHS = {name: f"self_attn.{name}" for name in MODULES[:4]} | {name: f"mlp.{name}" for name in MODULES[4:]}


@dataclass(frozen=True)
class BaseShape:
    """Widths of the base; `alpha / rank` scales every LoRA product."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int

    def sides(self, module: str) -> tuple[int, int]:
        """(in, out) widths of a module."""
        query, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, kv),
            "v_proj": (self.hidden, kv),
            "o_proj": (query, self.hidden),
            "up_proj": (self.hidden, self.ffn),
            "gate_proj": (self.hidden, self.ffn),
            "down_proj": (self.ffn, self.hidden),
        }[module]


# LoRAs of a whole model, one a group of rows: per site A [layers, groups, ranks, in] and B transposed [layers, groups, ranks, out],
# where the ranks of a site's modules follow one another and each reaches its own module's part of `out` alone. Scaled in B. Stacks of
# fewer layers than the base has are for its upper ones.
Lora = dict[str, tuple[Tensor, Tensor]]


def lora_layers(lora: Lora | None) -> int:
    """How many layers carry a LoRA."""
    return len(next(iter(lora.values()))[0]) if lora else 0


# Rows up to this long are padded to the longest of them, the others to the longest of all.
SHORT_ROW = 64


@dataclass(frozen=True)
class Span:
    """Rows that attention pads to one width. Row 0 of a group may be the shared prefix itself (`first` True there)."""

    width: int
    group: Tensor  # [rows]
    first: Tensor  # [rows]


@dataclass(frozen=True)
class Batch:
    """
    Rows of tokens in groups, a LoRA each. `ids` is flat: every group is the shared prefix, row after row, and padding up to the
    longest group. Attention sees the same tokens as cells, padded row by row in spans, and one cell more, for all padding of groups.
    """

    ids: Tensor  # [groups * tokens of the longest]
    positions: Tensor  # of every token
    groups: int
    prefix: int
    cell: Tensor  # of every token
    token: Tensor  # of every cell; any where it has none
    filled: Tensor  # of every cell: 1 where it has a token, or 0
    spans: list[Span]
    targets: Tensor  # flat indices of positions whose successor is scored
    labels: Tensor  # the successors
    owner: Tensor  # which answer each target belongs to
    group: Tensor  # of each answer
    branches: Tensor | None = None  # 0 for prompts, 1… for the candidate answers of a row, which do not see each other

    def to(self, device: torch.device) -> "Batch":
        move = lambda value: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        moved = {item.name: move(getattr(self, item.name)) for item in fields(self)}
        spans = [replace(span, group=move(span.group), first=move(span.first)) for span in self.spans]
        return Batch(**{**moved, "spans": spans})


@dataclass(frozen=True)
class Below:
    """What is known before a forward pass: the states [tokens, hidden] behind the first `layers` layers."""

    layers: int
    states: Tensor


class BaseModel:
    """Frozen weights in one dtype, the device's fastest by default, and the forward pass over them."""

    def __init__(self, model, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"):
        dtype = dtype or native_dtype(device)
        config = model.config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.shape = BaseShape(
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            head_dim,
            config.intermediate_size,
        )
        # cuDNN's attention plans anew for every shape, and here every step has its own.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.dtype, self.device, self.eps = dtype, torch.device(device), config.rms_norm_eps
        take = lambda weight: weight.detach().to(self.device, dtype).contiguous()
        self.embedding = take(model.get_input_embeddings().weight)
        self.head = take(model.get_output_embeddings().weight)
        self.norm = take(model.model.norm.weight)
        self.layers = []
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            fuse = lambda *parts: take(torch.cat([part.weight for part in parts]))
            self.layers.append(
                {
                    "norm1": take(layer.input_layernorm.weight),
                    "norm2": take(layer.post_attention_layernorm.weight),
                    "qkv": fuse(attention.q_proj, attention.k_proj, attention.v_proj),
                    "o": take(attention.o_proj.weight),
                    "gate_up": fuse(mlp.gate_proj, mlp.up_proj),
                    "down": take(mlp.down_proj.weight),
                }
            )
        rope = getattr(config, "rope_parameters", None) or {}
        theta = rope.get("rope_theta") or getattr(config, "rope_theta", 10000.0)
        inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        angles = torch.outer(torch.arange(4096, dtype=torch.float64), inverse)
        self.cos = torch.cat([angles.cos(), angles.cos()], 1).to(self.device, torch.float32)
        self.sin = torch.cat([-angles.sin(), angles.sin()], 1).to(self.device, torch.float32)

    def hidden(self, batch: Batch, lora: Lora | None, below: Below | None = None) -> Tensor:
        """Hidden states [tokens, hidden] after the last norm. No layer that is below may carry LoRA."""
        below = below or Below(0, self.embedding[batch.ids])
        x = self.through(below.states, batch, lora, range(below.layers, len(self.layers)))
        return F.rms_norm(x, (self.shape.hidden,), self.norm, self.eps)

    def through(self, x: Tensor, batch: Batch, lora: Lora | None, layers: range) -> Tensor:
        """States [tokens, hidden] behind these layers, from those before them."""
        shape, prefix, groups = self.shape, batch.prefix, batch.groups
        dim, heads, kv_heads = shape.head_dim, shape.heads, shape.kv_heads
        query, kv = heads * dim, kv_heads * dim
        cos, sin = self._turns(batch.positions)
        masks, filled = self._masks(batch), batch.filled.to(self.dtype)[:, None]
        sizes = [len(span.group) * span.width for span in batch.spans] + [1]
        # Rows take their group's prefix by a product, whose gradient is a product too.
        chosen = [F.one_hot(span.group, groups).to(self.dtype) for span in batch.spans]
        linear = self.linear(lora, groups)

        for index in layers:
            layer = self.layers[index]
            y = F.rms_norm(x, (shape.hidden,), layer["norm1"], self.eps)
            qkv = rotate(linear("qkv", y, index).view(-1, heads + 2 * kv_heads, dim), cos, sin).flatten(1)
            begin = qkv.view(groups, -1, query + 2 * kv)[:, :prefix, query:].reshape(groups, -1)
            *owns, _ = _Move.apply(qkv, batch.token, batch.cell, None).split(sizes)
            parts = []
            for own, mask, span, pick in zip(owns, masks, batch.spans, chosen):
                own = own.view(-1, span.width, query + 2 * kv)
                keys = torch.cat([(pick @ begin).view(len(own), prefix, 2 * kv), own[..., query:]], 1)
                k, v = (one.unflatten(-1, (kv_heads, dim)).transpose(1, 2) for one in keys.split(kv, -1))
                parts.append(_attend(own[..., :query], k, v, mask, heads).flatten(0, 1))
            y = _Move.apply(torch.cat([*parts, x.new_zeros(1, query)]), batch.cell, batch.token, filled)
            x = x + linear("o", y, index)
            y = F.rms_norm(x, (shape.hidden,), layer["norm2"], self.eps)
            gate, up = linear("gate_up", y, index).split(shape.ffn, 1)
            x = x + linear("down", F.silu(gate) * up, index)
        return x

    def linear(self, lora: Lora | None, groups: int) -> Callable[[str, Tensor, int], Tensor]:
        """A site's product in a layer, of tokens [groups * any, in], each group with its LoRA: `linear(site, y, layer)`."""
        pairs_of = {site: (a.to(self.dtype).unbind(0), b.to(self.dtype).unbind(0)) for site, (a, b) in (lora or {}).items()}
        first = len(self.layers) - lora_layers(lora)

        def product(site: str, y: Tensor, index: int) -> Tensor:
            out = F.linear(y, self.layers[index][site])
            if site not in pairs_of or index < first:
                return out
            a, b = (stack[index - first] for stack in pairs_of[site])
            inner = y.view(groups, -1, y.shape[-1]) @ a.transpose(1, 2)
            return torch.baddbmm(out.view(groups, -1, out.shape[-1]), inner, b).flatten(0, 1)

        return product

    def _turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary factors of every token [tokens, heads + 2 kv_heads, dim] for the heads of q and k; those of v are not turned."""
        turned, still = self.shape.heads + self.shape.kv_heads, self.shape.kv_heads
        parts = []
        for table, neutral in ((self.cos, 1.0), (self.sin, 0.0)):
            one = table[positions, None].to(self.dtype)
            parts.append(torch.cat([one.expand(-1, turned, -1), torch.full_like(one, neutral).expand(-1, still, -1)], 1))
        return parts[0], parts[1]

    def _masks(self, batch: Batch) -> list[Tensor]:
        """What each span's queries must not see, as 0 and -inf [rows, kv_heads, heads / kv_heads * width, prefix + width]."""
        masks, repeat, start = [], self.shape.heads // self.shape.kv_heads, 0
        for span in batch.spans:
            rows, width = len(span.group), span.width
            # Cells of padding are behind every token of their row, so causality alone hides them.
            hidden = torch.ones(width, width, dtype=torch.bool, device=self.device).triu(1).expand(rows, -1, -1)
            if batch.branches is not None:
                branch = batch.branches[batch.token[start : start + rows * width]].view(rows, 1, width)
                hidden = hidden | ((branch != 0) & (branch != branch.transpose(1, 2)))
            # The prefix as a row of its own has nothing before it.
            before = span.first[:, None, None].expand(-1, width, batch.prefix)
            hidden = torch.cat([before, hidden], 2).repeat(1, repeat, 1)[:, None]
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device).masked_fill(hidden, float("-inf"))
            masks.append(mask.expand(-1, self.shape.kv_heads, -1, -1))
            start += rows * width
        return masks

    def target_logits(self, batch: Batch, lora: Lora | None, below: Below | None = None) -> Tensor:
        """What is predicted at each target [targets, vocabulary], float32."""
        return F.linear(self.hidden(batch, lora, below).index_select(0, batch.targets), self.head).float()

    def target_nll(self, batch: Batch, lora: Lora | None, below: Below | None = None) -> Tensor:
        """Negative log-likelihood in nats of each target token [targets], float32."""
        return F.cross_entropy(self.target_logits(batch, lora, below), batch.labels, reduction="none")


class _Move(torch.autograd.Function):
    """
    Rows of `x` in another order: `x[there]`. Where every row is needed once, its gradient comes back by `grad[back]`, times
    `filled` where rows may have gone nowhere: a look-up, and no sum as for indices in general.
    """

    @staticmethod
    def forward(context, x: Tensor, there: Tensor, back: Tensor, filled: Tensor | None) -> Tensor:
        context.save_for_backward(back, filled)
        return x.index_select(0, there)

    @staticmethod
    def backward(context, grad: Tensor):
        back, filled = context.saved_tensors
        grad = grad.index_select(0, back)
        return grad if filled is None else grad * filled, None, None, None


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Grouped-query attention of q [rows, width, heads * dim] over k, v [rows, kv_heads, keys, dim], in the shape of q."""
    rows, width, _ = q.shape
    _, kv_heads, _, dim = k.shape
    repeat = heads // kv_heads
    q = q.view(rows, width, kv_heads, repeat, dim).permute(0, 2, 3, 1, 4).reshape(rows, kv_heads, -1, dim)
    if q.is_cuda:
        out = F.scaled_dot_product_attention(q, k, v, mask)
    else:
        # Written out: the fused kernel's backward is slow on CPUs.
        out = ((q * dim**-0.5) @ k.transpose(2, 3) + mask).softmax(-1) @ v
    return out.view(rows, kv_heads, repeat, width, dim).permute(0, 3, 1, 2, 4).reshape(rows, width, heads * dim)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.addcmul(x * cos, torch.cat([x[..., half:], x[..., :half]], -1), sin)


def load_base(path: Path, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"):
    """The base of a GGUF file, dequantised by transformers, or of a directory as model hubs have it; its tokenizer; the original."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(path)
    where = (path,) if path.is_dir() else (path.parent,)
    file = {} if path.is_dir() else {"gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(*where, **file)
    model = AutoModelForCausalLM.from_pretrained(*where, dtype=torch.float32, **file)
    return BaseModel(model.eval(), dtype, device), tokenizer, model
