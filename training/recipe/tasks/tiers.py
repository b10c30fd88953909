"""The tiers, fixed in a committed file before anything is trained: names, rows, and a digest of what judges."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .registry import SEED, T1, T2, T3, TIERS, VALIDATION, all_tasks, divide
from .task import Task

METRIC = "exact match of greedy decoding (recipe/tasks/exact.py), at most {rows} rows a task, in the order of the digest"
RULE = (
    "A tier's mean is over its tasks that count: those whose own LoRA is at least 20 points above the instructed base on rows to train on. "
    "All others are listed beside them."
)


def digest(task: Task, rows: int) -> str:
    """SHA-256 of the rows that judge a task, its allowed answers and the wordings of its instruction."""
    _, judged = task.rows(0, rows)
    return hashlib.sha256(json.dumps([judged, task.choices, task.wordings]).encode()).hexdigest()


def tier_file(folder: Path | None, rows: int) -> dict:
    """What the committed file holds, made anew."""
    tasks = all_tasks(folder)
    part = divide(tasks)

    def listed(wanted: str) -> list[dict]:
        found = []
        for name in sorted(name for name, one in part.items() if one == wanted):
            task = tasks[name]
            count = len(task.rows(0, rows)[1])
            found.append({"name": name, "family": task.family, "source": task.source, "rows": count, "digest": digest(task, rows)})
        return found

    return {
        "seed": SEED,
        "metric": METRIC.format(rows=rows),
        "counts": RULE,
        "tiers": {tier: {"what": TIERS[tier], "tasks": listed(tier)} for tier in (T1, T2, T3)},
        "validation": listed(VALIDATION),
        "training_tasks": sum(one == "train" for one in part.values()),
    }


def to_text(tiers: dict) -> str:
    """JSON with one line a task."""
    marks: dict[str, str] = {}

    def marked(tasks: list[dict]) -> list[str]:
        names = [f"<{task['name']}>" for task in tasks]
        marks.update({json.dumps(name): json.dumps(task) for name, task in zip(names, tasks)})
        return names

    short = {tier: {**one, "tasks": marked(one["tasks"])} for tier, one in tiers["tiers"].items()}
    text = json.dumps({**tiers, "tiers": short, "validation": marked(tiers["validation"])}, indent=2)
    for mark, line in marks.items():
        text = text.replace(mark, line)
    return text + "\n"


def fix_tiers(folder: Path | None, rows: int, path: Path) -> dict:
    """Writes the file where there is none; refuses where the one that is there says something else."""
    made = tier_file(folder, rows)
    if path.exists():
        if json.loads(path.read_text()) != made:
            raise SystemExit(f"{path} has other tiers than the tasks give now. They were fixed before training: change the tasks back.")
    else:
        path.write_text(to_text(made))
    return made


def parts_of(path: Path) -> dict[str, str]:
    """The part of every task that is not trained on, as the committed file has it."""
    held = json.loads(path.read_text())
    parts = {task["name"]: tier for tier, one in held["tiers"].items() for task in one["tasks"]}
    return parts | {task["name"]: VALIDATION for task in held["validation"]}
