"""What a user's application would send: an instruction in somebody's words and an input; and descriptions without inputs."""

from __future__ import annotations

import random

from .task import Task

LAYOUTS = (
    "{instruction}\n{text}",
    "{instruction}\n\n{text}",
    "{instruction} {text}",
    "{text}\n{instruction}",
    "{text}\n\n{instruction}",
    "{instruction}\nInput: {text}",
    "Input: {text}\nTask: {instruction}",
    "{instruction}\n---\n{text}",
    "### {instruction}\n{text}",
)
DESCRIPTIONS = ("{instruction}", "Task: {instruction}", "Instruction: {instruction}", "The task is this. {instruction}", "You get an input. {instruction}")
# What a condition may be made of.
PROMPTS, DESCRIPTION, BOTH = "prompts", "descriptions", "both"
KINDS = (PROMPTS, DESCRIPTION, BOTH)


def as_typed(wording: str, rng: random.Random) -> str:
    """The wording as it is, or typed in haste: a small first letter, no full stop at the end."""
    if rng.random() < 0.3 and wording[1:2].islower():
        wording = wording[0].lower() + wording[1:]
    if rng.random() < 0.3:
        wording = wording.rstrip(".")
    return wording


def ask(task: Task, text: str, rng: random.Random) -> str:
    """An input together with the task's instruction, as one message."""
    return rng.choice(LAYOUTS).format(instruction=as_typed(rng.choice(task.wordings), rng), text=text)


def describe(task: Task, rng: random.Random) -> str:
    """The instruction without an input."""
    return rng.choice(DESCRIPTIONS).format(instruction=as_typed(rng.choice(task.wordings), rng))


def condition_texts(task: Task, inputs: list[str], kind: str, count: int, seed: int) -> list[str]:
    """`count` texts that conditions of a task are drawn from; with `both`, every other one is a description."""
    if kind not in KINDS:
        raise ValueError(f"Conditions are made of {', '.join(KINDS)}, not of {kind}.")
    rng = random.Random(f"{task.name}/conditions/{kind}/{seed}")
    described = lambda index: kind == DESCRIPTION or (kind == BOTH and index % 2 == 1)
    return [describe(task, rng) if described(index) else ask(task, inputs[index % len(inputs)], rng) for index in range(count)]
