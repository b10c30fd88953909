"""Scores of one adapter on rows, and intervals of means over items."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from .base_model import BaseModel, Batch, Lora
from .data import Encoder, by_length

# Tokens of a batch that is scored.
MAX_TOKENS = {"cpu": 2048, "cuda": 16384}


@dataclass
class Scores:
    """
    Per item: summed NLL of the right answer in nats, its tokens, whether it was the likeliest choice, its NLL among the listed choices
    alone, and how many choices are listed (the last three NaN where there are none).
    """

    nll: np.ndarray
    tokens: np.ndarray
    right: np.ndarray
    held: np.ndarray
    choices: np.ndarray

    def held_to_choices(self) -> "Scores":
        """The same model if only the listed choices could be answered: their likelihoods, made to sum to 1. The form costs nothing."""
        return replace(self, nll=self.held)

    def uniform_guess(self) -> "Scores":
        """What a guess scores that knows the form and nothing else: every listed choice is equally likely, nothing else is possible."""
        return replace(self, nll=np.log(self.choices), right=1 / self.choices, held=np.log(self.choices))


@dataclass(frozen=True)
class Exam:
    """Rows ready to be scored, in batches: of each the rows' numbers, their numbers of choices, and which is right."""

    rows: int
    batches: list[tuple[list[int], list[int], list[int], Batch]]

    @staticmethod
    def of(rows: list[dict], encoder: Encoder, device: torch.device, instructed: bool = False) -> "Exam":
        """`instructed` gives each row's own system message instead of the chat template's."""
        at, batches = {id(row): index for index, row in enumerate(rows)}, []
        for group in by_length(rows, encoder, MAX_TOKENS[device.type]):
            choices = [row.get("choices") or [row["response"]] for row in group]
            right = [options.index(row["response"]) for options, row in zip(choices, group)]
            batch = encoder.batch([group], choices, instructed=instructed).to(device)
            batches.append(([at[id(row)] for row in group], [len(options) for options in choices], right, batch))
        return Exam(len(rows), batches)


@torch.no_grad()
def score(base: BaseModel, lora: Lora | None, exam: Exam) -> Scores:
    """
    Answers are teacher-forced, their end of turn included. Accuracy compares the summed log-likelihoods of a row's choices,
    each with its end of turn.
    """
    nll, tokens, right, held, choices = (np.full(exam.rows, np.nan) for _ in range(5))
    for indices, counts, truths, batch in exam.batches:
        each, owner, answers = base.target_nll(batch, lora).double().cpu(), batch.owner.cpu(), sum(counts)
        sums = torch.zeros(answers, dtype=torch.float64).index_add(0, owner, each).numpy()
        lengths = torch.bincount(owner, minlength=answers).numpy()
        start = 0
        for index, count, truth in zip(indices, counts, truths):
            part = sums[start : start + count]
            nll[index], tokens[index] = part[truth], lengths[start + truth]
            if count > 1:
                right[index] = float(part.argmin() == truth)
                held[index], choices[index] = np.logaddexp.reduce(-part) + part[truth], count
            start += count
    return Scores(nll, tokens, right, held, choices)


RESAMPLES = 2000


class Bootstrap:
    """
    Seeded resamples of items, the same for all figures of a set, so that differences are paired; and of adapters, where these are
    random draws.
    """

    def __init__(self, items: int, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        draws = self.rng.integers(0, items, (RESAMPLES, items))
        self.counts = np.stack([np.bincount(draw, minlength=items) for draw in draws])

    def means(self, values: np.ndarray, weights: np.ndarray | None = None, drawn: bool = False) -> np.ndarray:
        """
        Of values [adapters, items] the mean (sum of values over sum of weights) over items and adapters in every resample. `drawn`:
        adapters are resampled too.
        """
        weights = np.ones(values.shape[1]) if weights is None else weights
        each = (values @ self.counts.T) / (weights @ self.counts.T)  # [adapters, resamples]
        if drawn:
            picks = self.rng.integers(0, len(each), each.shape)
            each = np.take_along_axis(each, picks, 0)
        return each.mean(0)


def interval(value: float, resampled: np.ndarray) -> dict[str, float]:
    """A figure with its 95 % percentile bootstrap interval, which holds the figure."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    # Resamples of a constant differ from it by rounding.
    return {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}
