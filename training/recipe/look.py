"""`look`: whether a generator in training has learned to read its prompts, in a minute and without decoding. Never on a tier."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from .base_model import Lora
from .conditions import draw
from .files import log_line
from .generator import Generator
from .run import Run
from .tasks.registry import TRAIN, VALIDATION

# Tasks that are looked at together.
TOGETHER = 8


def look(run: Run, stem: str, count: int) -> str:
    """
    Of training tasks and of validation tasks over the same kinds of input, on `count` rows each that nobody trains on, bare: nats a token
    and the share of answers whose every token is the likeliest (what greedy decoding says exactly) by the untouched base, from the task's
    own prompts, and from another task's over the same inputs. Appends to `work/look.log.jsonl`; returns a table of means.
    """
    generator, held = Generator.load(run.work / f"{stem}.pt", run.base)
    pools: dict[str, list[str]] = {}
    for name in run.training_sets(run.generators()["generator"]):
        if name in run.tasks.tasks:
            pools.setdefault(run.tasks.tasks[name].pool, []).append(name)
    trained = [name for names in pools.values() for name in names]
    parts = {TRAIN: trained, VALIDATION: [name for name in run.tasks.names(VALIDATION) if run.tasks.tasks[name].pool in pools]}
    lines = [f"{stem}, step {held['step']}, {count} rows a task; nats a token / right", ""]
    lines += ["| tasks | base | own prompts | another task's |", "|---|---|---|---|"]
    for part, names in parts.items():
        # A task alone in its pool has no other.
        others = {name: _other(name, pools[run.tasks.tasks[name].pool]) for name in names}
        names = [name for name in names if others[name]]
        if not names:
            continue
        said = {
            "base": _said(run, names, count, None),
            "own": _said(run, names, count, (generator, {name: name for name in names})),
            "other": _said(run, names, count, (generator, others)),
        }
        found = {name: {subject: one[name] for subject, one in said.items()} for name in names}
        log_line(run.work / "look.log.jsonl", generator=stem, step=held["step"], part=part, rows=count, tasks=found)
        means = [torch.tensor([one[name] for name in names]).mean(0).tolist() for one in said.values()]
        lines.append(f"| {len(names)} {part} | " + " | ".join(f"{nll:.3f} / {right:.2f}" for nll, right in means) + " |")
    return "\n".join(lines)


def _other(name: str, pool: list[str]) -> str | None:
    fitting = [other for other in sorted(pool) if other != name]
    return random.Random(f"{name}/look").choice(fitting) if fitting else None


@torch.no_grad()
def _said(run: Run, names: list[str], count: int, made: tuple[Generator, dict[str, str]] | None) -> dict[str, tuple[float, float]]:
    """Of each task nats a token and the share of answers that are right; LoRAs from prompts of the task that `made` names."""
    found = {}
    for at in range(0, len(names), TOGETHER):
        part = names[at : at + TOGETHER]
        batch = run.chat.batch([run.test_rows(name, count) for name in part]).to(run.base.device)
        logits = run.base.target_logits(batch, _loras(run, part, *made) if made else None)
        nll = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        group = batch.group[batch.owner]
        # An answer is right where none of its tokens is wrong.
        wrong = torch.zeros(len(batch.group), device=nll.device).index_add(0, batch.owner, (logits.argmax(-1) != batch.labels).float())
        for index, name in enumerate(part):
            found[name] = round(nll[group == index].mean().item(), 4), round((wrong[batch.group == index] == 0).float().mean().item(), 4)
    return found


def _loras(run: Run, names: list[str], generator: Generator, source: dict[str, str]) -> Lora:
    condition = lambda name: draw(run.states(source[name]), generator.settings.prompts, random.Random(f"{name}/look"))
    chunks: Tensor = torch.stack([generator.chunks(condition(name)) for name in names])
    return generator.layout.to_lora(chunks)
