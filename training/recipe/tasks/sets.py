"""Tasks as data sets of the recipe: rows to train on, rows to judge by, and the texts that conditions are drawn from."""

from __future__ import annotations

import random
from pathlib import Path

from ..data import DataSet
from ..settings import TaskSettings
from .prompts import ask, condition_texts
from .registry import TRAIN, all_tasks
from .task import Task
from .tiers import fix_tiers, parts_of


class TaskSets:
    """All tasks of a run by part, checked against the committed tiers, and their rows."""

    def __init__(self, settings: TaskSettings, seed: int):
        folder = Path(settings.folder) if settings.folder else None
        # Refuses tasks that are not those of the committed file.
        fix_tiers(folder, settings.test_rows, Path(settings.tiers))
        self.settings, self.seed = settings, seed
        every, held = all_tasks(folder), parts_of(Path(settings.tiers))
        self.part = {name: held.get(name, TRAIN) for name in every}
        wanted = lambda task: task.pool in (settings.pools or [task.pool]) and task.family in (settings.families or [task.family])
        limit, trained = settings.limit, [name for name, task in every.items() if self.part[name] == TRAIN and wanted(task)]
        kept = set(random.Random(f"tasks/limit/{seed}").sample(trained, min(limit, len(trained)))) if limit else set(trained)
        self.tasks = {name: task for name, task in every.items() if self.part[name] != TRAIN or name in kept}

    def names(self, *parts: str) -> list[str]:
        return [name for name in self.tasks if self.part[name] in parts]

    def data_set(self, name: str) -> DataSet:
        """A task's rows; `bare` is the input, `asked` the same with the instruction. Their `prompt` is bare but for a share of those to train on."""
        task, settings = self.tasks[name], self.settings
        own, judged = task.rows(settings.rows, settings.test_rows)
        rng = random.Random(f"{name}/rows/{self.seed}")
        rows = [self._row(task, text, answer, rng) for text, answer in own]
        for row in rows:
            if rng.random() < settings.instructed_share:
                row["prompt"] = row["asked"]
        texts = condition_texts(task, [text for text, _ in own], settings.conditions, settings.condition_texts, self.seed)
        return DataSet(name, rows, [self._row(task, text, answer, rng) for text, answer in judged], texts)

    def ceiling_rows(self, name: str, judged: int) -> tuple[list[dict], list[dict]]:
        """Rows of the training part alone: to tune an own LoRA on, bare; and others to judge head-room by."""
        task = self.tasks[name]
        own, _ = task.rows(self.settings.rows, 0)
        rng = random.Random(f"{name}/ceiling/{self.seed}")
        rows = [self._row(task, text, answer, rng) for text, answer in rng.sample(own, len(own))]
        judged = min(judged, len(rows) // 3)
        return rows[judged:], rows[:judged]

    def _row(self, task: Task, text: str, answer: str, rng: random.Random) -> dict:
        row = {"prompt": text, "response": answer, "bare": text, "asked": ask(task, text, rng)}
        return {**row, "choices": list(task.choices)} if task.choices else row
