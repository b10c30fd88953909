"""Greedy decoding of the base with a LoRA for every group of rows, with keys and values kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base_model import BaseModel, Lora, rotate
from .data import Encoder

# Tokens of the rows of a batch.
MAX_TOKENS = {"cpu": 4096, "cuda": 65536}
Kept = list[tuple[Tensor, Tensor]]  # of every layer keys and values [rows, kv_heads, tokens, dim]


def answers(base: BaseModel, encoder: Encoder, groups: list[list[str]], lora: Lora | None, limits: list[int]) -> list[list[str]]:
    """
    What the base says to each prompt, greedily, to the end of its turn or at most `limits[group]` tokens; group g of prompts with the
    g-th of the LoRAs. Groups are of one length.
    """
    count = len(groups[0])
    tokens = [[encoder.tokens(prompt + encoder.tail) for prompt in prompts] for prompts in groups]
    # Rows of similar length together: the i-th longest of every group.
    orders = [sorted(range(count), key=lambda index: len(one[index])) for one in tokens]
    said: list[list[str]] = [[""] * count for _ in groups]
    start = 0
    while start < count:
        size = 1
        widest = lambda end: max(len(one[order[end - 1]]) for one, order in zip(tokens, orders))
        while start + size < count and (size + 1) * len(groups) * widest(start + size + 1) <= MAX_TOKENS[base.device.type]:
            size += 1
        rows = [[one[index] for index in order[start : start + size]] for one, order in zip(tokens, orders)]
        for group, found in enumerate(_decode(base, encoder, rows, lora, max(limits))):
            for index, ids in zip(orders[group][start : start + size], found):
                said[group][index] = encoder.tokenizer.decode(ids[: limits[group]], skip_special_tokens=True)
        start += size
    return said


@torch.no_grad()
def _decode(base: BaseModel, encoder: Encoder, groups: list[list[list[int]]], lora: Lora | None, limit: int) -> list[list[list[int]]]:
    """Token ids that follow each row of every group, without the end of turn."""
    device, count, size = base.device, len(groups), len(groups[0])
    prefix = len(encoder.prefix)
    rows = [row for group in groups for row in group]
    lengths = torch.tensor([len(row) for row in rows], device=device)
    width = max(map(len, rows))
    ids = torch.tensor([row + [encoder.end] * (width - len(row)) for row in rows], device=device)
    # The shared beginning once a group, then every row behind it.
    start = torch.tensor([encoder.prefix] * count, device=device)
    _, shared = _forward(base, start, torch.arange(prefix, device=device), _causal(prefix, 0, device), lora, count, None)
    past: Kept = [(k.repeat_interleave(size, 0), v.repeat_interleave(size, 0)) for k, v in shared]
    positions = torch.arange(prefix, prefix + width, device=device)
    hidden, past = _forward(base, ids, positions, _causal(width, prefix, device), lora, count, past)
    last = hidden[torch.arange(len(rows), device=device), lengths - 1]
    # Keys of padding stay in place and are hidden; what is decoded comes behind them.
    visible = torch.arange(prefix + width, device=device) < prefix + lengths[:, None]
    made, open_rows = [], torch.ones(len(rows), dtype=torch.bool, device=device)
    for step in range(limit):
        chosen = F.linear(last, base.head).argmax(-1)
        open_rows &= chosen != encoder.end
        made.append(torch.where(open_rows, chosen, -1))
        if not open_rows.any() or step + 1 == limit:
            break
        visible = torch.cat([visible, torch.ones_like(visible[:, :1])], 1)
        mask = torch.zeros(visible.shape, dtype=base.dtype, device=device).masked_fill(~visible, float("-inf"))
        hidden, past = _forward(base, chosen[:, None], (prefix + lengths + step)[:, None], mask[:, None, None], lora, count, past)
        last = hidden[:, 0]
    found = torch.stack(made, 1).tolist()
    found = [[token for token in row if token >= 0] for row in found]
    return [found[at : at + size] for at in range(0, len(found), size)]


def _causal(width: int, before: int, device: torch.device) -> Tensor:
    """0 and -inf [width, before + width]: everything before, and no later token."""
    return torch.full((width, before + width), float("-inf"), device=device).triu(before + 1)


def _forward(
    base: BaseModel, ids: Tensor, positions: Tensor, mask: Tensor, lora: Lora | None, groups: int, past: Kept | None
) -> tuple[Tensor, Kept]:
    """States [rows, tokens, hidden] after the last norm, and keys and values of what was before and of these tokens."""
    shape, (rows, width) = base.shape, ids.shape
    heads, kv_heads, dim = shape.heads, shape.kv_heads, shape.head_dim
    linear, kept = base.linear(lora, groups), []
    cos, sin = (table[positions].to(base.dtype).unsqueeze(-2) for table in (base.cos, base.sin))
    mask = mask.to(base.dtype)
    x = base.embedding[ids].flatten(0, 1)
    for index, layer in enumerate(base.layers):
        y = F.rms_norm(x, (shape.hidden,), layer["norm1"], base.eps)
        q, k, v = linear("qkv", y, index).view(rows, width, -1, dim).split((heads, kv_heads, kv_heads), 2)
        q, k, v = (one.transpose(1, 2) for one in (rotate(q, cos, sin), rotate(k, cos, sin), v))
        if past is not None:
            k, v = torch.cat([past[index][0], k], 2), torch.cat([past[index][1], v], 2)
        kept.append((k, v))
        repeat = lambda one: one.repeat_interleave(heads // kv_heads, 1)
        y = F.scaled_dot_product_attention(q, repeat(k), repeat(v), mask).transpose(1, 2).reshape(rows * width, -1)
        x = x + linear("o", y, index)
        y = F.rms_norm(x, (shape.hidden,), layer["norm2"], base.eps)
        gate, up = linear("gate_up", y, index).split(shape.ffn, 1)
        x = x + linear("down", F.silu(gate) * up, index)
    return F.rms_norm(x, (shape.hidden,), base.norm, base.eps).view(rows, width, -1), kept
