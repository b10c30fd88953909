"""Scores of one adapter on rows, and intervals of means over items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .base_model import BaseModel, Lora
from .data import Encoder, by_length


@dataclass
class Scores:
    """Per item: summed NLL of the right answer in nats, its tokens, and whether it was the likeliest choice (NaN: no choices)."""

    nll: np.ndarray
    tokens: np.ndarray
    right: np.ndarray

    @staticmethod
    def mean(scores: list["Scores"]) -> "Scores":
        """Items averaged over several adapters."""
        return Scores(
            np.mean([one.nll for one in scores], 0), scores[0].tokens, np.mean([one.right for one in scores], 0)
        )


@torch.no_grad()
def score(base: BaseModel, lora: Lora | None, rows: list[dict], encoder: Encoder, instructed: bool = False) -> Scores:
    """
    Answers are teacher-forced, their end of turn included. Accuracy compares the summed log-likelihoods of a row's choices,
    each with its end of turn. `instructed` gives each row's own system message instead of the chat template's.
    """
    nll, tokens, right = (np.full(len(rows), np.nan) for _ in range(3))
    at = {id(row): index for index, row in enumerate(rows)}
    for group in by_length(rows, encoder, 2048):
        candidates = [row.get("choices") or [row["response"]] for row in group]
        batch = encoder.batch(group, candidates, instructed=instructed)
        each = base.target_nll(batch, lora).double()
        answers = sum(map(len, candidates))
        sums = torch.zeros(answers, dtype=torch.float64).index_add(0, batch.owner, each).numpy()
        counts = torch.bincount(batch.owner, minlength=answers).numpy()
        start = 0
        for row, options in zip(group, candidates):
            part, index = sums[start : start + len(options)], at[id(row)]
            truth = options.index(row["response"])
            nll[index], tokens[index] = part[truth], counts[start + truth]
            if len(options) > 1:
                right[index] = float(part.argmin() == truth)
            start += len(options)
    return Scores(nll, tokens, right)


RESAMPLES = 2000


def interval(values: np.ndarray, weights: np.ndarray | None = None, seed: int = 0) -> dict[str, float]:
    """Mean (sum of values over sum of weights) with its 95 % percentile bootstrap interval over items."""
    weights = np.ones_like(values) if weights is None else weights
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[draws].sum(1) / weights[draws].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"value": float(values.sum() / weights.sum()), "low": float(low), "high": float(high)}
