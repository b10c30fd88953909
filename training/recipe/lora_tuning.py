"""Ordinary LoRA tuning of the frozen base: what the paper collects, and what generated adapters are measured against."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor

from .base_model import BaseModel
from .data import Encoder
from .layout import Layout


class RowSource:
    """Rows of a set in seeded epochs, in helpings of bounded size."""

    def __init__(self, rows: list[dict], encoder: Encoder, seed: str):
        self.rows = [row for row in rows if encoder.fits(row)]
        self.encoder, self.rng, self.queue = encoder, random.Random(seed), []

    def take(self, max_rows: int, max_tokens: int) -> list[dict]:
        taken, tokens = [], 0
        while len(taken) < max_rows:
            if not self.queue:
                self.queue = self.rng.sample(self.rows, len(self.rows))
            size = len(self.encoder.prompt(self.queue[-1])) + len(self.encoder.answer(self.queue[-1]["response"]))
            if taken and tokens + size > max_tokens:
                break
            taken.append(self.queue.pop())
            tokens += size
        return taken


def start_chunks(layout: Layout, seed: int) -> Tensor:
    """PEFT's start: A uniform within 1 / sqrt(in), B zero, as chunks [T, rank, chunk_width]."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(layout.base.layers):
        for name in layout.modules:
            width_in, width_out = layout.base.sides(name)
            shape = (width_in // layout.chunk_width, layout.rank, layout.chunk_width)
            parts.append((torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(width_in))
            parts.append(torch.zeros(width_out // layout.chunk_width, *shape[1:]))
    return torch.cat(parts)


def cosine(step: int, steps: int, warmup: int, floor: float = 0.05) -> float:
    """Factor of the learning rate."""
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1, (step - warmup) / max(1, steps - warmup))))


def tune(
    base: BaseModel,
    layout: Layout,
    sources: list[RowSource],
    *,
    steps: int,
    lr: float,
    seed: int = 0,
    sets_a_step: int = 1,
    max_rows: int = 16,
    max_tokens: int = 1024,
    save_last: int = 0,
    start: Tensor | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> list[Tensor]:
    """
    Trains one LoRA on rows of all sources, `sets_a_step` of them a step, and returns its chunks after each of the last
    `save_last` steps, which run at a tenth of the rate as in the paper, and in any case the final ones.
    """
    chunks = torch.nn.Parameter((start_chunks(layout, seed) if start is None else start).clone())
    optimiser = torch.optim.Adam([chunks], lr=lr, betas=(0.9, 0.98))
    rng, kept = random.Random(f"tune/{seed}"), []
    for step in range(steps):
        late = step >= steps - save_last
        for group in optimiser.param_groups:
            group["lr"] = lr * (0.1 if late and save_last else cosine(step, steps - save_last, 10))
        chosen = rng.sample(sources, min(sets_a_step, len(sources)))
        lora, losses = layout.to_lora(chunks), []
        helpings = [source.take(max_rows // len(chosen), max_tokens // len(chosen)) for source in chosen]
        batch = sources[0].encoder.batch([row for rows in helpings for row in rows])
        nll = base.target_nll(batch, lora)
        bounds = [0, *torch.tensor([len(rows) for rows in helpings]).cumsum(0).tolist()]
        for low, high in zip(bounds, bounds[1:]):
            losses.append(nll[(batch.owner >= low) & (batch.owner < high)].mean())
        loss = torch.stack(losses).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([chunks], 1.0)
        optimiser.step()
        on_step(step, loss.item())
        if late:
            kept.append(chunks.detach().clone())
    return kept or [chunks.detach().clone()]
