"""`tasks`: the table of sources, terms and rows, and of families, as Markdown and JSON."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from .registry import T1, T2, T3, TRAIN, VALIDATION, all_tasks, divide
from .sources import LEFT_OUT, SOURCES
from .task import Task


def write_tables(folder: Path | None, train: int, test: int, out: Path) -> str:
    """Writes TASKS.md and tasks.json into `out`; returns the Markdown. Tasks have up to so many rows to train on and to judge by."""
    tasks = all_tasks(folder)
    part = divide(tasks)
    listed = {name: _facts(task, part[name], train, test) for name, task in tasks.items()}
    out.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(facts)}" for name, facts in listed.items())
    (out / "tasks.json").write_text("{\n" + lines + "\n}\n")
    text = "\n".join([*_sources(tasks, part, listed), *_families(tasks, part)])
    (out / "TASKS.md").write_text(text)
    return text


def _facts(task: Task, part: str, train: int, test: int) -> dict:
    own, judged = task.rows(train, test)
    text, answer = own[0]
    facts = {"family": task.family, "inputs": task.pool, "source": task.source, "part": part}
    facts |= {"train_rows": len(own), "test_rows": len(judged), "choices": list(task.choices)}
    return facts | {"wordings": len(task.wordings), "instruction": task.wordings[0], "example": [text, answer]}


def _sources(tasks: dict[str, Task], part: dict[str, str], listed: dict[str, dict]) -> list[str]:
    lines = ["# Tasks", "", f"{len(tasks)} tasks.", "", "| source | terms | tasks | trained on | rows to train on | rows to judge by |", "|---|---|---|---|---|---|"]
    for key, source in SOURCES.items():
        names = [name for name, task in tasks.items() if task.source == key]
        if not names:
            continue
        trained = [name for name in names if part[name] == TRAIN]
        rows = sum(listed[name]["train_rows"] for name in trained)
        judged = sum(listed[name]["test_rows"] for name in names if part[name] != TRAIN)
        lines.append(f"| {source.told} | {source.terms} | {len(names)} | {len(trained)} | {rows:,} | {judged:,} |")
    lines += ["", "Left out:", "", "| what | why |", "|---|---|", *(f"| {what} | {why} |" for what, why in LEFT_OUT.items())]
    return [*lines, ""]


def _families(tasks: dict[str, Task], part: dict[str, str]) -> list[str]:
    parts = (TRAIN, VALIDATION, T1, T2, T3)
    counts = Counter((task.family, part[name]) for name, task in tasks.items())
    lines = [f"| family | {' | '.join(parts)} | kinds of input |", "|---|" + "---|" * (len(parts) + 1)]
    for family in sorted({task.family for task in tasks.values()}):
        pools = {task.pool for task in tasks.values() if task.family == family}
        shown = " | ".join(str(counts[family, one] or "") for one in parts)
        lines.append(f"| {family} | {shown} | {len(pools)} |")
    total = Counter(part.values())
    return [*lines, f"| all | {' | '.join(str(total[one]) for one in parts)} | {len({task.pool for task in tasks.values()})} |", ""]
