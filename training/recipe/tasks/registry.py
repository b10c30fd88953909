"""All tasks by name, and how they are divided: to train on, to choose by (validation), and the three tiers that are held out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from .inputs import PHRASE, WORD
from .operations import CASE, DECORATION, OPERATIONS, Operation
from .public import UNSEEN_DOMAINS, public_tasks
from .rewriting import rewriting_tasks
from .rules import rule_tasks
from .selections import SELECTIONS, Selection, composed_wordings
from .sources import SOURCES
from .task import Task, filled, rule_task

TRAIN, VALIDATION, T1, T2, T3 = "train", "validation", "T1", "T2", "T3"
TIERS = {
    T1: "unseen tasks of seen families: other rules, fields and label sets, and three whole domains of CLINC150",
    T2: "unseen compositions of a selection and an operation, each of which is seen",
    T3: "unseen families: banking77 and dstc8",
}
# Rows that a held-out task must have to judge by.
LEAST_TEST_ROWS = 200
# How many tasks are drawn for what, where a tier is not a whole source.
UNSEEN_OF_FAMILIES, UNSEEN_COMPOSITIONS, TRAINED_COMPOSITIONS = 24, 30, 110
VALIDATION_OF_FAMILIES, VALIDATION_COMPOSITIONS = 14, 10
SEED = "tasks/1"


@lru_cache(maxsize=2)
def all_tasks(folder: Path | None) -> dict[str, Task]:
    """Every task; those from public rows are left out without their folder."""
    tasks = [
        *(selection.task() for selection in SELECTIONS),
        *_operation_tasks(),
        *rewriting_tasks(),
        *rule_tasks(),
        *_compositions(),
        *(public_tasks(folder) if folder else []),
    ]
    named = {task.name: task for task in tasks}
    if len(named) < len(tasks):
        raise ValueError("Two tasks have one name.")
    return named


def _operation_tasks() -> list[Task]:
    of_words = [rule_task(WORD, one.family, f"{one.name}-of-word", one.apply, filled(one.wordings, x="the word")) for one in OPERATIONS]
    on_phrase = lambda apply: lambda value: apply(" ".join(value))
    of_phrases = [
        rule_task(PHRASE, one.family, f"{one.name}-of-phrase", on_phrase(one.apply), filled(one.wordings, x="the phrase")) for one in (*CASE, *DECORATION)
    ]
    return [*of_words, *of_phrases]


def _compositions() -> list[Task]:
    """A seeded draw of selections with an operation behind them, as many of each operation as of any other."""
    rng, made = random.Random(f"{SEED}/compositions"), []
    wanted = UNSEEN_COMPOSITIONS + TRAINED_COMPOSITIONS + VALIDATION_COMPOSITIONS
    fitting = {one.name: rng.sample([s for s in SELECTIONS if s.wordy or not one.words_only], 60) for one in OPERATIONS}
    for number in range(wanted):
        operation = OPERATIONS[number % len(OPERATIONS)]
        selection = next(one for one in _popped(fitting[operation.name]) if _changes(one, operation))
        answer = lambda value, selection=selection, operation=operation: operation.apply(selection.select(value))
        made.append(
            rule_task(
                selection.pool,
                f"compose-{selection.family}",
                f"{operation.name}-of-{selection.label}",
                answer,
                composed_wordings(selection.phrases, operation.wordings),
                parts=(f"{selection.family}/{selection.label}", f"{operation.family}/{operation.name}-of-word"),
            )
        )
    return made


def _popped(selections: list[Selection]) -> Iterator[Selection]:
    while selections:
        yield selections.pop()


def _changes(selection: Selection, operation: Operation) -> bool:
    """Whether the operation does something to what is selected often enough: capitalising a name does not."""
    selected = [selection.select(value) for _, value in selection.pool.inputs(60)]
    return sum(operation.apply(text) != text for text in selected) > len(selected) * 0.4


def divide(tasks: dict[str, Task]) -> dict[str, str]:
    """
    Every task's part: train, validation, T1, T2 or T3. Drawn by seed alone, with no look at what the base can do. Parts of T2's
    compositions are trained on; families of T3 are seen nowhere else.
    """
    rng = random.Random(f"{SEED}/tiers")
    enough = lambda name: len(tasks[name].rows(0, LEAST_TEST_ROWS)[1]) >= LEAST_TEST_ROWS
    part = dict.fromkeys(tasks, TRAIN)
    unseen_pools = {domain.replace("_", "-") for domain in UNSEEN_DOMAINS}
    for name, task in tasks.items():
        if not SOURCES[task.source].trained:
            part[name] = T3
        elif task.family == "route" and task.pool in unseen_pools:
            part[name] = T1
    # A few of every family in turn, so that no large family fills the tier; parts of compositions stay in training.
    needed = {name for task in tasks.values() for name in task.parts}
    families: dict[str, list[str]] = {}
    for name in rng.sample(sorted(tasks), len(tasks)):
        task = tasks[name]
        if part[name] == TRAIN and not task.parts and name not in needed and enough(name):
            families.setdefault(task.family, []).append(name)
    # A family keeps most of its tasks for training.
    families = {family: names[: len(names) // 3] for family, names in sorted(families.items())}
    rounds = [[names[at] for names in families.values() if at < len(names)] for at in range(max(map(len, families.values()), default=0))]
    in_turn = [name for names in rounds for name in rng.sample(names, len(names))]
    for name in in_turn[:UNSEEN_OF_FAMILIES]:
        part[name] = T1
    for name in in_turn[UNSEEN_OF_FAMILIES : UNSEEN_OF_FAMILIES + VALIDATION_OF_FAMILIES]:
        part[name] = VALIDATION
    composed = [name for name in sorted(tasks) if tasks[name].parts and enough(name)]
    rng.shuffle(composed)
    for name in composed[:UNSEEN_COMPOSITIONS]:
        part[name] = T2
    for name in composed[UNSEEN_COMPOSITIONS : UNSEEN_COMPOSITIONS + VALIDATION_COMPOSITIONS]:
        part[name] = VALIDATION
    return part
