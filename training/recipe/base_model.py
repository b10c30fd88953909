"""The frozen base model: a Llama-type language model that takes LoRA matrices as plain tensors.

transformers loads the weights and is the reference (tests compare the two). The forward pass is written out here for two
reasons: LoRA matrices that a generator has just computed must take part in autograd, and rows that share their chat
template's beginning can share its computation. Tokens of all rows lie in one flat list, so that linear layers see no padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

# Modules of a layer in the order of weight tokens (design note on the paper's system, §3.2).
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj")
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


# LoRA of a whole model: per layer, per module, (A [rank, in], B transposed [rank, out]); the scale is already in B.
Lora = list[dict[str, tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Batch:
    """Rows of tokens behind a shared prefix. `ids` is the flat list: the prefix, then row after row."""

    ids: Tensor  # [P + sum of lengths]
    prefix: int
    lengths: list[int]
    targets: Tensor  # flat indices of positions whose successor is scored
    labels: Tensor  # the successors
    owner: Tensor  # which answer each target belongs to
    positions: Tensor  # position of every token of the flat list
    branches: Tensor | None = None  # 0 for prompts, 1… for the candidate answers of a row, which do not see each other


class BaseModel:
    """Frozen weights in one dtype and the forward pass over them."""

    def __init__(self, model, dtype: torch.dtype = torch.bfloat16, device: str = "cpu"):
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

    def hidden(self, batch: Batch, lora: Lora | None) -> Tensor:
        """Hidden states [P + sum of lengths, hidden] after the last norm."""
        shape, prefix, rows = self.shape, batch.prefix, len(batch.lengths)
        width, dim, heads, kv_heads = max(batch.lengths), shape.head_dim, shape.heads, shape.kv_heads
        lengths = torch.tensor(batch.lengths, device=self.device)
        column = torch.arange(width, device=self.device)
        valid = column[None] < lengths[:, None]
        # Where each row token lies in the padded [rows * width] view that attention needs.
        cell = valid.reshape(-1).nonzero()[:, 0]
        position = batch.positions
        cos, sin = self.cos[position, None].to(self.dtype), self.sin[position, None].to(self.dtype)
        causal = torch.full((width, width), float("-inf"), dtype=self.dtype, device=self.device).triu(1)
        # Cells of padding are behind every token of their row, so causality alone hides them.
        if batch.branches is not None:
            branch = batch.branches.new_zeros(rows * width).index_copy(0, cell, batch.branches[prefix:])
            branch = branch.view(rows, 1, width)
            foreign = (branch != 0) & (branch != branch.transpose(1, 2))
            causal = causal.masked_fill(foreign[:, None], float("-inf"))  # [rows, 1, width, width]
        mask = torch.cat([causal.new_zeros(*causal.shape[:-1], prefix), causal], -1)
        mask = torch.cat([mask] * (heads // kv_heads), -2)
        prefix_mask = torch.full((prefix, prefix), float("-inf"), dtype=self.dtype, device=self.device).triu(1)
        prefix_mask = prefix_mask.repeat(heads // kv_heads, 1)

        x = self.embedding[batch.ids]
        query, kv = heads * dim, kv_heads * dim
        for index, layer in enumerate(self.layers):
            pairs = lora[index] if lora else {}
            y = F.rms_norm(x, (shape.hidden,), layer["norm1"], self.eps)
            q, k, v = F.linear(y, layer["qkv"]).split([query, kv, kv], 1)
            q, k, v = _add(q, y, pairs, "q_proj"), _add(k, y, pairs, "k_proj"), _add(v, y, pairs, "v_proj")
            turned = _rotate(torch.cat([q, k], 1).view(-1, heads + kv_heads, dim), cos, sin)
            qkv = torch.cat([turned, v.view(-1, kv_heads, dim)], 1)
            spread = qkv.new_zeros(rows * width, heads + 2 * kv_heads, dim).index_copy(0, cell, qkv[prefix:])
            q, k, v = _heads(spread.view(rows, width, -1, dim), heads, kv_heads)
            parts = []
            if prefix:
                first = _heads(qkv[None, :prefix], heads, kv_heads)
                parts.append(_attend(*first, prefix_mask, heads)[0])
                k = torch.cat([first[1].expand(rows, -1, -1, -1), k], 2)
                v = torch.cat([first[2].expand(rows, -1, -1, -1), v], 2)
            parts.append(_attend(q, k, v, mask, heads).reshape(rows * width, query)[cell])
            y = torch.cat(parts)
            x = x + _add(F.linear(y, layer["o"]), y, pairs, "o_proj")
            y = F.rms_norm(x, (shape.hidden,), layer["norm2"], self.eps)
            gate, up = F.linear(y, layer["gate_up"]).split([shape.ffn, shape.ffn], 1)
            gate, up = _add(gate, y, pairs, "gate_proj"), _add(up, y, pairs, "up_proj")
            y = F.silu(gate) * up
            x = x + _add(F.linear(y, layer["down"]), y, pairs, "down_proj")
        return F.rms_norm(x, (shape.hidden,), self.norm, self.eps)

    def target_logits(self, batch: Batch, lora: Lora | None) -> Tensor:
        """What is predicted at each target [targets, vocabulary], float32."""
        return F.linear(self.hidden(batch, lora)[batch.targets], self.head).float()

    def target_nll(self, batch: Batch, lora: Lora | None) -> Tensor:
        """Negative log-likelihood in nats of each target token [targets], float32."""
        return F.cross_entropy(self.target_logits(batch, lora), batch.labels, reduction="none")


def _add(out: Tensor, x: Tensor, pairs: dict[str, tuple[Tensor, Tensor]], module: str) -> Tensor:
    if module not in pairs:
        return out
    a, b = pairs[module]
    return torch.addmm(out, x @ a.to(x.dtype).T, b.to(x.dtype))


def _heads(qkv: Tensor, heads: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """[rows, width, heads + 2 kv_heads, dim] -> q [rows, kv_heads, heads / kv_heads * width, dim], k, v [rows, kv_heads, width, dim]."""
    rows, width, _, dim = qkv.shape
    q, k, v = qkv.split([heads, kv_heads, kv_heads], 2)
    q = q.view(rows, width, kv_heads, heads // kv_heads, dim).permute(0, 2, 3, 1, 4)
    return q.reshape(rows, kv_heads, -1, dim), k.transpose(1, 2), v.transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Grouped-query attention -> [rows, width, heads * dim]. Written out: the fused kernel's backward is slow on CPUs."""
    rows, kv_heads, queries, dim = q.shape
    scores = (q * dim**-0.5) @ k.transpose(2, 3) + mask
    out = scores.softmax(-1) @ v
    repeat = heads // kv_heads
    out = out.view(rows, kv_heads, repeat, queries // repeat, dim).permute(0, 3, 1, 2, 4)
    return out.reshape(rows, queries // repeat, heads * dim)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([x[..., half:], x[..., :half]], -1) * sin


def load_base(path: Path, dtype: torch.dtype = torch.bfloat16, device: str = "cpu"):
    """The base of a GGUF file, dequantised by transformers, or of a directory as model hubs have it; its tokenizer; the original."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(path)
    where = (path,) if path.is_dir() else (path.parent,)
    file = {} if path.is_dir() else {"gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(*where, **file)
    model = AutoModelForCausalLM.from_pretrained(*where, dtype=torch.float32, **file)
    return BaseModel(model.eval(), dtype, device), tokenizer, model
