"""`collect`: LoRAs of single sets with their late checkpoints, and multi-task LoRAs to measure the generator against."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .data import form_of
from .files import log_line, save_whole
from .lora_tuning import Helpings, tune
from .run import Run


def collect(run: Run) -> None:
    """
    Writes `loras/<set>.pt` for every set; and for every generator that `train` makes, `multi-task/<generator>.pt` of all its
    training sets and `multi-task/<generator>-unmixed.pt` of those of them whose rows show by themselves how they want to be
    answered. What is there is kept.
    """
    options = run.settings.collect
    single = {run.work / "loras" / f"{name}.pt": [name] for name in run.sets}
    _tune_all(run, single, "loras", options.steps, 1, options.rows, options.tokens, options.keep)
    several = {}
    for generator, held_out in run.generators().items():
        names = run.training_sets(held_out)
        several[run.work / "multi-task" / f"{generator}.pt"] = names
        several[run.work / "multi-task" / f"{generator}-unmixed.pt"] = [name for name in names if form_of(name) != "mixed"]
    sizes = (options.multi_task_sets_a_step, options.multi_task_rows, options.multi_task_tokens)
    _tune_all(run, several, "multi-task", options.multi_task_steps, *sizes, 1)


def _tune_all(
    run: Run, wanted: dict[Path, list[str]], label: str, steps: int, sets_a_step: int, rows: int, tokens: int, keep: int
) -> None:
    settings = run.settings
    missing = [path for path in wanted if not path.exists()]
    for at in range(0, len(missing), settings.collect.side_by_side):
        paths, started, recent = missing[at : at + settings.collect.side_by_side], time.time(), []
        sources = {f"{label}/{path.stem}": [run.source(name) for name in wanted[path]] for path in paths}
        with tqdm(total=steps, desc=f"{label} {at + 1}–{at + len(paths)} of {len(missing)}", mininterval=5) as bar:

            def on_step(losses: Tensor) -> None:
                recent[:] = [*recent[-9:], losses]
                bar.update()

            kept = tune(
                run.base,
                run.layout,
                Helpings(sources, steps, sets_a_step, rows, tokens, settings.seed),
                lr=settings.collect.lr,
                seed=settings.seed,
                save_last=keep,
                on_step=on_step,
            )
        late = torch.stack(recent).mean(0).tolist()
        seconds = round(time.time() - started)
        for index, (path, name, loss) in enumerate(zip(paths, sources, late)):
            save_whole(torch.stack([one[index] for one in kept]), path)
            log_line(run.work / "collect.log.jsonl", lora=name, loss=round(loss, 4), beside=len(paths), seconds=seconds)


def read_chunks(path: Path) -> Tensor:
    """The checkpoints of a LoRA as float32 chunks [checkpoints, T, rank, chunk_width], the last one last."""
    return torch.load(path).float()
