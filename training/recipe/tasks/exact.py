"""Exact match: what counts as the right answer, and what as an answer that was not allowed."""

from __future__ import annotations


def trimmed(said: str, right: str) -> str:
    """
    What was said without white space around it, and without a pair of quotation marks around it or a full stop behind it where the
    right answer has none. Case counts.
    """
    said = said.strip()
    if said.endswith(".") and not right.endswith("."):
        said = said[:-1].rstrip()
    if len(said) > 1 and said[0] == said[-1] and said[0] in "\"'" and not right.startswith(said[0]):
        said = said[1:-1].strip()
    return said


def is_right(said: str, right: str) -> bool:
    return trimmed(said, right) == right.strip()


def is_outside(said: str, right: str, choices: list[str] | tuple[str, ...]) -> bool:
    """Whether an answer is none of those that are allowed."""
    return trimmed(said, right) not in choices
