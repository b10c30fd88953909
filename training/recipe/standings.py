"""The table of `judge`: means of tiers with intervals by bootstrap over families, then tasks, then seeds, and whether to ship."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .judge import DECIDING, SUBJECTS
from .run import Run
from .scoring import interval

RESAMPLES = 2000
# Ship if all hold (points of accuracy as shares).
GAIN, BEHIND_MULTI_TASK, OTHER_TASK, WORST_DRAW = 0.10, 0.02, 0.05, 0.05


@dataclass
class Said:
    """A subject's accuracy by seed [seeds, draws, tasks], share outside the allowed, tokens a call; NaN where a task was not scored."""

    right: np.ndarray
    outside: float
    tokens: float


def read_judged(folder: Path, tasks: list[str]) -> dict[str, Said]:
    """What was kept of these tasks, by subject; only of subjects that all of them have, or that have no meaning for the others."""
    kept: dict[str, dict[tuple[int, int, int], dict]] = {}
    for index, name in enumerate(tasks):
        for path in sorted((folder / name).glob("*.json")):
            subject, _, number = path.stem.partition("@")
            seed, _, draw = number.partition(".")
            kept.setdefault(subject, {})[int(seed), int(draw or 0), index] = json.loads(path.read_text())
    found = {}
    for subject, entries in kept.items():
        seeds, draws = sorted({key[0] for key in entries}), sorted({key[1] for key in entries})
        right = np.full((len(seeds), len(draws), len(tasks)), np.nan)
        for (seed, draw, index), one in entries.items():
            right[seeds.index(seed), draws.index(draw), index] = np.mean(one["right"])
        outside = [one["outside"] for one in entries.values() if one["outside"] is not None]
        tokens = [one["tokens"] for one in entries.values()]
        found[subject] = Said(right, float(np.mean(outside)) if outside else float("nan"), float(np.mean(tokens)))
    return found


class TaskBootstrap:
    """Seeded resamples of families, of tasks in each, and of seeds; the same for all subjects, so that differences are paired."""

    def __init__(self, families: list[str], seed: int = 0):
        self.rng = np.random.default_rng(seed)
        names = sorted(set(families))
        members = [np.flatnonzero(np.array(families) == name) for name in names]
        self.counts = np.zeros((RESAMPLES, len(families)))
        for counts in self.counts:
            for family in self.rng.integers(0, len(names), len(names)):
                np.add.at(counts, self.rng.choice(members[family], len(members[family])), 1)
        self._seeds: dict[int, np.ndarray] = {}

    def means(self, right: np.ndarray) -> np.ndarray:
        """Of [seeds, tasks] the mean over both in every resample; tasks that were not scored do not count."""
        seeds = len(right)
        if seeds not in self._seeds:
            self._seeds[seeds] = np.stack([np.bincount(self.rng.integers(0, seeds, seeds), minlength=seeds) for _ in range(RESAMPLES)]) / seeds
        known = ~np.isnan(right)
        each = (self.counts @ np.where(known, right, 0).T) / np.maximum(self.counts @ known.T, 1e-9)  # [resamples, seeds]
        return (each * self._seeds[seeds]).sum(1)


def standings(run: Run, parts: dict[str, list[str]]) -> dict:
    """All figures by part: of each subject accuracy, its difference to the instructed base, what is outside the allowed, tokens a call."""
    found, results = run.headroom(), {}
    for tier, names in parts.items():
        counting = [name for name in names if not found or found.get(name, {}).get("counts")]
        if counting:
            families = [run.tasks.tasks[name].family for name in counting]
            results[tier] = {"tasks": len(names), "counting": counting, "subjects": figures(read_judged(run.work / "judged", counting), families)}
    return results


def figures(said: dict[str, Said], families: list[str]) -> dict[str, dict]:
    bootstrap, entries = TaskBootstrap(families), {}
    # Draws are averaged: the seeds of training are what is resampled.
    values = {subject: np.nanmean(one.right, 1) for subject, one in said.items()}
    resampled = {subject: bootstrap.means(one) for subject, one in values.items()}
    base = "base-instructed"
    for subject, one in said.items():
        entry = entries[subject] = {"accuracy": interval(np.nanmean(values[subject]), resampled[subject])}
        entry |= {"outside": round(one.outside, 4), "tokens": round(one.tokens, 1), "seeds": one.right.shape[0], "draws": one.right.shape[1]}
        entry["tasks"] = int((~np.isnan(one.right)).any((0, 1)).sum())
        if entry["draws"] > 1:
            # The mean over tasks of each draw, and the worst.
            entry["worst_draw"] = float(np.nanmean(one.right, 2).min())
        if base in said and entry["tasks"] == len(families):
            difference = np.nanmean(values[subject]) - np.nanmean(values[base])
            entry["minus_instructed"] = interval(difference, resampled[subject] - resampled[base])
    return entries


def verdict(subjects: dict[str, dict], kind: str) -> dict[str, bool]:
    """Which of the conditions for shipping hold for a kind of generator, over T1 and T2 together."""
    value = lambda subject: subjects[subject]["accuracy"]["value"] if subject in subjects else float("nan")
    bare = f"{kind}-bare"
    return {
        f"mean minus instructed base is at least {GAIN:.0%} at its lower 95 % bound": subjects[bare]["minus_instructed"]["low"] >= GAIN,
        f"at most {BEHIND_MULTI_TASK:.0%} below the multi-task LoRA that has the instruction": value(bare) >= value("multi-task-instructed") - BEHIND_MULTI_TASK,
        f"prompts of another task over the same inputs at most {OTHER_TASK:.0%} above the instructed base": value(f"{kind}-other-task") <= value("base-instructed") + OTHER_TASK,
        f"the worst draw at most {WORST_DRAW:.0%} below the mean": subjects[bare].get("worst_draw", float("nan")) >= value(bare) - WORST_DRAW,
    }


def order(kinds: list[str]) -> dict[str, str]:
    """Subjects and how they are told, each kind of generator in its turn."""
    told = {}
    for subject, text in SUBJECTS.items():
        told |= {subject.format(kind=kind): text.format(kind=kind) for kind in kinds} if "{kind}" in subject else {subject: text}
    return told


def write_standings(run: Run, results: dict, out: Path) -> str:
    """Writes standings.json and STANDINGS.md into `out`; returns the Markdown."""
    kinds = list(run.settings.generators)
    lines = ["# Standings", "", _protocol(run), ""]
    for tier, one in results.items():
        lines += [f"## {tier}", "", f"{len(one['counting'])} of {one['tasks']} tasks count.", ""]
        lines += ["| | accuracy | minus instructed base | worst draw | outside the allowed | tokens a call | tasks |", "|---|---|---|---|---|---|---|"]
        lines += [_line(text, one["subjects"][subject]) for subject, text in order(kinds).items() if subject in one["subjects"]]
        lines.append("")
    both = results.get(DECIDING, {}).get("subjects", {})
    for kind in kinds:
        if f"{kind}-bare" in both and "minus_instructed" in both[f"{kind}-bare"]:
            lines += [f"## May {kind} ship?", "", *(f"- {'yes' if holds else '**no**'}: {what}" for what, holds in verdict(both, kind).items()), ""]
    text = "\n".join(lines)
    out.mkdir(parents=True, exist_ok=True)
    (out / "standings.json").write_text(json.dumps(results, indent=1))
    (out / "STANDINGS.md").write_text(text)
    return text


def _protocol(run: Run) -> str:
    options = run.settings.judge
    return (
        f"Exact match of greedy decoding on up to {options.rows} rows a task. Mean over tasks; intervals: 95 % bootstrap over families, tasks in them, and "
        f"seeds of training. Generated: {options.draws} draws of prompts a task, seeds {', '.join(map(str, options.seeds))}. A task counts where its own LoRA is at "
        f"least {run.settings.ceilings.headroom:.0%} above the instructed base on rows to train on."
    )


def _line(text: str, entry: dict) -> str:
    shown = lambda one: f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
    worst = f"{entry['worst_draw']:.3f}" if "worst_draw" in entry else ""
    outside = "" if np.isnan(entry["outside"]) else f"{entry['outside']:.3f}"
    difference = shown(entry["minus_instructed"]) if "minus_instructed" in entry else ""
    tokens = f"{entry['tokens']:.0f}" if entry["tokens"] else ""
    return f"| {text} | {shown(entry['accuracy'])} | {difference} | {worst} | {outside} | {tokens} | {entry['tasks']} |"
