"""`collect`: LoRAs of single sets with their late checkpoints, and multi-task LoRAs to measure the generator against."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .files import log_line, save_whole
from .lora_tuning import tune
from .run import Run


def collect(run: Run) -> None:
    """
    Writes `loras/<set>.pt` for every set, `multi-task/trunk.pt` for all sets but the held-out ones, and `multi-task/<set>.pt` for
    each held-out set: all sets but that one, going on from the trunk as the generator does. What is there is kept.
    """
    settings, options = run.settings, run.settings.collect
    log = run.work / "collect.log.jsonl"
    for name in run.sets:
        sources = [run.source(name, "collect")]
        _tuned(run, run.work / "loras" / f"{name}.pt", log, sources, steps=options.steps, save_last=options.keep)
    trunk = run.work / "multi-task" / "trunk.pt"
    several = {"sets_a_step": options.multi_task_sets_a_step, "save_last": 1, "max_rows": options.multi_task_rows, "max_tokens": 1000}
    sources = [run.source(name, "multi-task") for name in run.training_sets(settings.held_out)]
    _tuned(run, trunk, log, sources, steps=options.multi_task_steps, **several)
    for held in settings.held_out:
        sources = [run.source(name, f"multi-task-{held}") for name in run.training_sets([held])]
        path = run.work / "multi-task" / f"{held}.pt"
        _tuned(run, path, log, sources, steps=options.multi_task_fold_steps, start=read_chunks(trunk)[-1], **several)


def _tuned(run: Run, path: Path, log: Path, sources: list, *, steps: int, **options) -> None:
    if path.exists():
        return
    collect_settings, started, losses = run.settings.collect, time.time(), []
    with tqdm(total=steps, desc=f"{path.parent.name}/{path.stem}", mininterval=5) as bar:

        def on_step(_: int, loss: float) -> None:
            losses.append(loss)
            bar.set_postfix(loss=f"{sum(losses[-10:]) / len(losses[-10:]):.3f}")
            bar.update()

        chunks = tune(
            run.base,
            run.layout,
            sources,
            steps=steps,
            lr=collect_settings.lr,
            seed=run.settings.seed,
            on_step=on_step,
            **{"max_rows": collect_settings.rows, "max_tokens": collect_settings.tokens, **options},
        )
    save_whole(torch.stack(chunks).to(torch.bfloat16), path)
    late = losses[-10:]
    log_line(log, lora=f"{path.parent.name}/{path.stem}", loss=round(sum(late) / len(late), 4), seconds=round(time.time() - started))


def read_chunks(path: Path) -> Tensor:
    """The checkpoints of a LoRA as float32 chunks [checkpoints, T, rank, chunk_width], the last one last."""
    return torch.load(path).float()
