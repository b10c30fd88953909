"""
Ordinary LoRA tuning of the frozen base, several LoRAs side by side: what the paper collects, and what generated adapters
are measured against.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .base_model import BaseModel, Batch
from .data import Encoder
from .layout import Layout
from .lower_half import LowerHalf

# Processes that put batches together beside a GPU; a CPU has nothing to spare for them.
LOADERS = 8


class RowSource:
    """Rows of a set that fit, in helpings of bounded size."""

    def __init__(self, rows: list[dict], encoder: Encoder):
        self.rows = [row for row in rows if encoder.fits(row)]
        self.encoder = encoder

    def take(self, rng: random.Random, max_rows: int, max_tokens: int) -> list[dict]:
        """At least one row; different ones."""
        taken, tokens = [], 0
        for row in rng.sample(self.rows, min(max_rows, len(self.rows))):
            tokens += self.encoder.size(row)
            if taken and tokens > max_tokens:
                break
            taken.append(row)
        return taken


def prepared(steps: Dataset, first: int, device: torch.device) -> Iterator:
    """The items of `steps` from `first` on, in order; beside a GPU they are made ahead by other processes."""
    aside = {"num_workers": LOADERS, "prefetch_factor": 4} if device.type == "cuda" else {}
    return iter(DataLoader(steps, batch_size=None, sampler=range(first, len(steps)), **aside))


def start_chunks(layout: Layout, seed: int) -> Tensor:
    """PEFT's start: A uniform within 1 / sqrt(in), B zero, as chunks [T, rank, chunk_width]."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in layout.layers:
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


@dataclass(frozen=True)
class Helpings(Dataset):
    """
    For every step and every LoRA (its sources by its name) rows of `sets_a_step` of its sources, and what each target's NLL
    weighs: sets count alike, tokens of a set too. A LoRA's rows in a step depend on its name, the step's number and the seed
    alone.
    """

    sources: dict[str, list[RowSource]]
    steps: int
    sets_a_step: int
    max_rows: int
    max_tokens: int
    seed: int

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Batch, Tensor, list[list[dict]]]:
        groups, shares = [], []
        for name, sources in self.sources.items():
            rng = random.Random(f"{self.seed}/{name}/{step}")
            chosen = rng.sample(sources, min(self.sets_a_step, len(sources)))
            groups.append([])
            for source in chosen:
                rows = source.take(rng, max(1, self.max_rows // len(chosen)), self.max_tokens // len(chosen))
                tokens = sum(len(source.encoder.answer(row["response"])) for row in rows)
                groups[-1] += rows
                shares += [1 / (tokens * len(chosen))] * tokens
        return sources[0].encoder.batch(groups), torch.tensor(shares), groups


def tune(
    base: BaseModel,
    layout: Layout,
    helpings: Helpings,
    *,
    lr: float,
    seed: int = 0,
    save_last: int = 0,
    lower: LowerHalf | None = None,
    on_step: Callable[[Tensor], None] = lambda losses: None,
) -> list[Tensor]:
    """
    Trains the LoRAs that the helpings are for, each as if it were alone; returns their chunks
    [LoRAs, T, rank, chunk_width] after each of the last `save_last` steps, which run at a tenth of the rate as in the paper, and
    in any case the final ones. `lower`: of the layers that carry no LoRA. `on_step` is told the losses [LoRAs].
    """
    count, steps = len(helpings.sources), helpings.steps
    start = start_chunks(layout, seed).to(base.device)
    chunks = torch.nn.Parameter(start.repeat(count, 1, 1, 1))
    optimiser = torch.optim.Adam([chunks], lr=lr, betas=(0.9, 0.98))
    kept = []
    for step, (batch, shares, groups) in enumerate(prepared(helpings, 0, base.device)):
        late = step >= steps - save_last
        for group in optimiser.param_groups:
            group["lr"] = lr * (0.1 if late and save_last else cosine(step, steps - save_last, 10))
        batch, shares = batch.to(base.device), shares.to(base.device)
        nll = base.target_nll(batch, layout.to_lora(chunks), lower.states(groups) if lower else None)
        losses = nll.new_zeros(count).index_add(0, batch.group[batch.owner], nll * shares)
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        norms = chunks.grad.flatten(1).norm(dim=1)
        chunks.grad.mul_((1 / norms.clamp_min(1))[:, None, None, None])
        optimiser.step()
        on_step(losses.detach())
        if late:
            kept.append(chunks.detach().to(torch.bfloat16).cpu())
    return kept or [chunks.detach().to(torch.bfloat16).cpu()]
