"""What a task is: a name, wordings of its instruction, inputs that it shares with other tasks, and one right answer to each."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# One input of so many is for judging alone, in every task that has it.
HELD_ONE_OF = 4


@lru_cache(maxsize=1 << 18)
def held(text: str) -> bool:
    """Whether an input is one to judge by. It depends on the text alone, so no task trains on what another is judged by."""
    return hashlib.sha256(text.encode()).digest()[0] % HELD_ONE_OF == 0


@dataclass(frozen=True)
class Pool:
    """A kind of input: values drawn by seed, and how they are written. Tasks over one pool have the same inputs."""

    name: str
    draw: Callable[[random.Random], Any]
    text: Callable[[Any], str] = str

    def inputs(self, count: int) -> list[tuple[str, Any]]:
        """Up to `count` different inputs in a fixed order, fewer where the pool has no more."""
        return _drawn(self)[:count]


# As many inputs as a balanced task of rare labels may look through.
DRAWN = 6000


@lru_cache(maxsize=None)
def _drawn(pool: Pool) -> list[tuple[str, Any]]:
    rng, made = random.Random(f"pool/{pool.name}"), {}
    for _ in range(3 * DRAWN):
        value = pool.draw(rng)
        made.setdefault(pool.text(value), value)
        if len(made) == DRAWN:
            break
    return list(made.items())


@dataclass(frozen=True)
class Task:
    """
    `pairs` gives (input, right answer, whether to judge by it) in a fixed order. `choices`: all answers that are allowed, where
    they can be listed. `parts`: what a composition is made of. `source`: a key of `sources.SOURCES`.
    """

    name: str
    family: str
    pool: str
    source: str
    wordings: tuple[str, ...]
    pairs: Callable[[], Iterable[tuple[str, str, bool]]]
    choices: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def rows(self, train: int, test: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """
        Up to so many rows (input, answer) to train on and to judge by: the first ones; with choices, the first of each as long as it
        has not more than its share.
        """
        wanted, parts = {False: train, True: test}, {False: [], True: []}
        shares = {mark: -(-count // max(1, len(self.choices))) for mark, count in wanted.items()}
        counts: Counter[tuple[bool, str]] = Counter()
        for text, answer, mark in self.pairs():
            if len(parts[mark]) == wanted[mark]:
                if len(parts[not mark]) == wanted[not mark]:
                    break
            elif not self.choices or counts[mark, answer] < shares[mark]:
                counts[mark, answer] += 1
                parts[mark].append((text, answer))
        return parts[False], parts[True]


def rule_task(
    pool: Pool,
    family: str,
    name: str,
    answer: Callable[[Any], str],
    wordings: tuple[str, ...],
    choices: tuple[str, ...] = (),
    parts: tuple[str, ...] = (),
) -> Task:
    """A task of this recipe: `answer` computes the right answer of every input of the pool."""

    def pairs() -> Iterable[tuple[str, str, bool]]:
        return ((text, answer(value), held(text)) for text, value in pool.inputs(DRAWN))

    return Task(f"{family}/{name}", family, pool.name, "recipe", wordings, pairs, choices, parts)


def filled(templates: tuple[str, ...], **values: str) -> tuple[str, ...]:
    """Wordings from templates; the first letter is as the template or the value has it."""
    return tuple(template.format(**values) for template in templates)
