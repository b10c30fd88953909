"""
`evaluate`: on rows of each held-out set, the generated adapters against everything they have to beat, with intervals.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .base_model import Lora
from .collect import read_chunks
from .conditions import draw
from .data import same_form
from .generator import Generator
from .run import Run
from .scoring import Bootstrap, Exam, Scores, interval, score

# Rows of the table in their order: what the service's bundle.json calls them, and how people are told.
SUBJECTS = {
    "base": "untouched base",
    "base-instructed": "base with the set's instruction as system message",
    "base-held-to-choices": "base held to the listed choices",
    "uniform-guess": "uniform guess in the right form",
    "training-adapters-mean": "mean over the training LoRAs",
    "training-adapter-best": "best single training LoRA",
    "training-adapters-average": "average of the training LoRAs' weights",
    "multi-task-adapter": "one LoRA trained on all training sets",
    "multi-task-adapter-unmixed": "the same without the mixed sets",
    "generated": "generated adapter",
    "own-adapter": "LoRA trained on the set itself",
    "control-same-form": "control: prompts of other sets of the same form",
    "control-other-form": "control: prompts of sets of other forms",
    "control-shuffled-words": "control: words of the prompts shuffled",
}
# Those whose adapters are a few of very many draws of prompts.
DRAWN = ("generated", "control-shuffled-words")


def evaluate(run: Run, generator_file: str | None, out: Path) -> dict:
    """
    Judges `fold-<set>.pt` on each held-out set, or `generator_file` on all of them. Scores of every adapter are kept under
    `work/scores`, so an interrupted call goes on where it was. Writes `out` (JSON) and returns what it holds.
    """
    results = {"settings": json.loads(run.settings.to_json()), "sets": {}}
    files = {held: run.work / (generator_file or f"fold-{held}.pt") for held in run.settings.held_out}
    for held, path in files.items():
        if held not in run.generators()[_trained_as(run, path)]:
            raise SystemExit(f"{path.name} was trained on {held}, and cannot be judged on it.")
    for held, path in files.items():
        results["sets"][held] = _evaluate_set(run, held, path)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1))
    return results


def _trained_as(run: Run, generator_file: Path) -> str:
    """The one of `Run.generators` that had the same training sets as this file's."""
    return generator_file.stem if generator_file.stem in run.generators() else "generator"


def _evaluate_set(run: Run, held: str, generator_file: Path) -> dict:
    options, layout = run.settings.evaluate, run.layout
    rows = run.test_rows(held, options.items)
    generator, about = Generator.load(generator_file, run.base)
    kind = _trained_as(run, generator_file)
    training = run.training_sets(run.generators()[kind])
    bar = tqdm(desc=f"{held} by {generator_file.stem}", unit="adapter", mininterval=5)

    @cache
    def exam(instructed: bool) -> Exam:
        return Exam.of(rows, run.chat, run.base.device, instructed)

    def scored(label: str, make: Callable[[], Lora | None], instructed: bool = False) -> Scores:
        path = run.work / "scores" / held / f"{label}.npz"
        # Scores of an earlier recipe lack what was measured among the choices.
        if not path.exists() or "held" not in np.load(path):
            made = score(run.base, make(), exam(instructed))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **vars(made))
        bar.update()
        return Scores(**np.load(path))

    last = lambda name, folder="loras": read_chunks(run.work / folder / f"{name}.pt")[-1].to(run.base.device)
    tag = f"{generator_file.stem}-{about['step']}"

    def drawn(label: str, states, seed: int) -> Scores:
        rng = random.Random(f"{held}/{seed}/{run.settings.seed}")
        made = lambda: layout.to_lora(generator.chunks(draw(states(), generator.settings.prompts, rng)))
        return scored(f"{tag}-{label}-{seed}", made)

    each = {name: scored(f"lora-{name}", lambda name=name: layout.to_lora(last(name))) for name in training}
    best = min(each, key=lambda name: each[name].nll.sum())
    average = lambda: layout.to_lora(torch.stack([last(name) for name in training]).mean(0))
    multi_task = lambda label: scored(f"multi-task-{label}", lambda: layout.to_lora(last(label, "multi-task")))
    seeds = range(options.draws)
    controls = {
        "control-same-form": [(seed, name) for seed, name in enumerate(options.controls[held]) if same_form(held, name)],
        "control-other-form": [(seed, name) for seed, name in enumerate(options.controls[held]) if not same_form(held, name)],
    }
    shuffled = lambda: run.shuffled_states(held, 400)
    found: dict[str, Scores | list[Scores]] = {
        "base": scored("base", lambda: None),
        "training-adapters-mean": list(each.values()),
        "training-adapter-best": each[best],
        "training-adapters-average": scored(f"average-{kind}", average),
        "multi-task-adapter": multi_task(kind),
        "multi-task-adapter-unmixed": multi_task(f"{kind}-unmixed"),
        "generated": [drawn("own", lambda: run.states(held), seed) for seed in seeds],
        "own-adapter": scored("own-lora", lambda: layout.to_lora(last(held))),
        "control-shuffled-words": [drawn("shuffled", shuffled, seed) for seed in seeds],
    }
    for subject, names in controls.items():
        if names:
            found[subject] = [drawn(f"other-{name}", lambda name=name: run.states(name), seed) for seed, name in names]
    if all(row.get("choices") for row in rows):
        found["base-held-to-choices"] = found["base"].held_to_choices()
        found["uniform-guess"] = found["base"].uniform_guess()
    if all(row.get("system") for row in rows):
        found["base-instructed"] = scored("base-instructed", lambda: None, instructed=True)
    bar.close()

    bootstrap = Bootstrap(len(rows))

    def figures(subject: str) -> dict[str, tuple[float, np.ndarray]]:
        """NLL and, where rows have choices, accuracy of a subject's adapters: the figure and its resamples."""
        several = found[subject] if isinstance(found[subject], list) else [found[subject]]
        nll, tokens = np.stack([one.nll for one in several]), several[0].tokens
        right = np.stack([one.right for one in several])
        shown = {"nll": (nll.mean(0).sum() / tokens.sum(), bootstrap.means(nll, tokens, subject in DRAWN))}
        if not np.isnan(right).any():
            shown["accuracy"] = (right.mean(), bootstrap.means(right, None, subject in DRAWN))
        return shown

    subjects, generated = {}, figures("generated")
    for subject in SUBJECTS:
        if subject not in found:
            continue
        entry = subjects[subject] = {}
        for key, (value, resampled) in (generated if subject == "generated" else figures(subject)).items():
            # A difference in NLL is positive where the generated adapter is better.
            entry[key] = interval(value, resampled)
            entry[f"{key}_minus_generated"] = interval(value - generated[key][0], resampled - generated[key][1])
        if isinstance(found[subject], list):
            values = [float(one.nll.sum() / one.tokens.sum()) for one in found[subject]]
            entry |= {"adapters": len(values), "nll_of_each": values}
            if len(values) > 1:
                entry["nll_deviation"] = float(np.std(values, ddof=1))
    return {
        "items": len(rows),
        "generator": tag,
        "training_sets": training,
        "best_training_set": best,
        "control_sets": {subject: [name for _, name in names] for subject, names in controls.items()},
        "subjects": subjects,
    }
