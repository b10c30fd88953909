"""States of the lower layers, for LoRAs of the upper ones alone: what does not change in training is computed once a row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .base_model import BaseModel, Below
from .data import Encoder, by_length

# Tokens of a batch that states are computed in.
MAX_TOKENS = 4096
# Tokens whose states are kept: below a gigabyte for a base of 576 numbers in float32.
KEPT_TOKENS = 400_000


class LowerHalf:
    """Rows -> the states behind the first `layers` layers, computed when first asked for and kept on the base's device."""

    def __init__(self, base: BaseModel, encoder: Encoder, layers: int):
        self.base, self.encoder, self.layers = base, encoder, layers
        self.prefix: Tensor | None = None
        self.kept: dict[tuple[str, str], Tensor] = {}
        self.tokens = 0

    def states(self, groups: list[list[dict]]) -> Below:
        """In the order of `Encoder.batch(groups)`: a group's shared prefix, row after row, zeros up to the longest."""
        rows = {_key(row): row for group in groups for row in group}
        if self.tokens + sum(map(self.encoder.size, rows.values())) > KEPT_TOKENS:
            # Rows come in no order that tells which of them is wanted again first.
            self.kept, self.tokens = {}, 0
        self._learn([row for key, row in rows.items() if key not in self.kept])
        made = [torch.cat([self.prefix, *(self.kept[_key(row)] for row in group)]) for group in groups]
        return Below(self.layers, pad_sequence(made, batch_first=True).flatten(0, 1))

    @torch.no_grad()
    def _learn(self, rows: list[dict]) -> None:
        base, encoder = self.base, self.encoder
        for group in by_length(rows, encoder, MAX_TOKENS) if rows else []:
            batch = encoder.batch([group]).to(base.device)
            found = base.through(base.embedding[batch.ids], batch, None, range(self.layers))
            sizes = [encoder.size(row) for row in group]
            self.prefix, *parts = (part.clone() for part in found.split([len(encoder.prefix), *sizes]))
            self.kept.update(zip(map(_key, group), parts))
            self.tokens += sum(sizes)


def _key(row: dict) -> tuple[str, str]:
    return row["prompt"], row["response"]
