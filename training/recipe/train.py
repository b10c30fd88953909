"""
`train`: the generator, by (a) the paper's reconstruction of collected LoRAs, where settings ask for it, and (b) end to end:
generated LoRAs are applied to the frozen base, and the answers' negative log-likelihood is carried back into the decoder.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from .base_model import BaseModel, Lora
from .collect import read_chunks
from .conditions import draw
from .data import FORM_OF, Encoder
from .files import log_line
from .generator import Generator
from .lora_tuning import RowSource, cosine
from .run import Run
from .settings import EndToEndSettings, ReconstructionSettings


def train_end_to_end(
    generator: Generator,
    base: BaseModel,
    sources: dict[str, RowSource],
    states: dict[str, torch.Tensor],
    settings: EndToEndSettings,
    out: Path,
) -> None:
    """
    Trains `generator` in place; `sources` are the rows and `states` the encoded prompts of each training set. Goes on from
    `out` where an earlier run of the same settings stopped; writes it every `save_every` steps, and a log beside it.
    """
    decoder = generator.decoder
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.0)
    first = 0
    if out.exists():
        held = _held(out, settings)
        decoder.load_state_dict(held["decoder"])
        optimiser.load_state_dict(held["optimiser"])
        first = held["step"]
    started, recent, elsewhere = time.time(), {}, 0.0
    bar = tqdm(initial=first, total=settings.steps, desc=out.stem, mininterval=5)
    for step, material in enumerate(_material_of_steps(generator, sources, states, settings)):
        if step < first:
            continue
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * cosine(step, settings.steps, settings.warmup)
        conditions = torch.stack([states[name][picks].float() for name, picks, _ in material])
        loras = generator.loras(conditions, half=True)
        losses = []
        for index, ((name, _, rows), lora) in enumerate(zip(material, loras)):
            others = [row for other, one in enumerate(material) if other != index for row in one[2][: settings.locality_rows]]
            loss, moved = _losses(base, sources[name].encoder, lora, rows, others if settings.locality else [])
            losses.append(loss + settings.locality * moved)
            recent[name] = 0.8 * recent.get(name, loss.item()) + 0.2 * loss.item()
            elsewhere = moved.item() if index + step == 0 else 0.95 * elsewhere + 0.05 * moved.item()
        optimiser.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(decoder.parameters(), settings.clip)
        optimiser.step()
        mean = sum(recent.values()) / len(recent)
        bar.update()
        bar.set_postfix(loss=f"{mean:.3f}", elsewhere=f"{elsewhere:.3f}", norm=f"{norm:.2f}")
        if (step + 1) % 10 == 0:
            log_line(
                out.with_suffix(".log.jsonl"),
                step=step + 1,
                loss=round(mean, 4),
                elsewhere=round(elsewhere, 4),
                norm=round(norm.item(), 3),
                seconds=round(time.time() - started),
                sets={name: round(value, 3) for name, value in recent.items()},
            )
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            generator.save(out, training=asdict(settings), optimiser=optimiser.state_dict(), step=step + 1)
    bar.close()


def _held(out: Path, settings: EndToEndSettings | ReconstructionSettings) -> dict:
    """What an earlier run left, if it was one of the same settings."""
    held = torch.load(out, weights_only=False)
    if held["training"] != asdict(settings):
        raise SystemExit(f"{out} was trained with other settings; name another work folder.")
    return held


def _losses(
    base: BaseModel, encoder: Encoder, lora: Lora, rows: list[dict], others: list[dict]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean NLL a token on `rows`, and mean KL divergence from the base's predictions on the answers of `others`, in nats."""
    batch = encoder.batch(rows + others)
    own = batch.owner < len(rows)
    logits = base.target_logits(batch, lora)
    loss = F.cross_entropy(logits[own], batch.labels[own])
    if not others:
        return loss, torch.zeros(())
    with torch.no_grad():
        untouched = base.target_logits(encoder.batch(others), None).log_softmax(-1)
    return loss, F.kl_div(logits[~own].log_softmax(-1), untouched, log_target=True, reduction="batchmean")


def _material_of_steps(
    generator: Generator, sources: dict[str, RowSource], states: dict[str, torch.Tensor], settings: EndToEndSettings
) -> Iterator[list[tuple[str, torch.Tensor, list[dict]]]]:
    """
    For every step the sets with the prompts that make each condition and the rows that judge its adapter. Every set comes as
    often as any other. Drawn from the start also when a run goes on, so that it ends as an uninterrupted one would.
    """
    rng, order, names = random.Random(settings.seed), [], sorted(sources)
    if settings.locality and len({FORM_OF[name] for name in names}) < settings.sets_a_step:
        raise SystemExit("With locality, the sets of a step are of different forms, and there are too few forms.")
    for _ in range(settings.steps):
        chosen: list[str] = []
        while len(chosen) < settings.sets_a_step:
            fits = lambda name: not settings.locality or FORM_OF[name] not in [FORM_OF[one] for one in chosen]
            fitting = next((name for name in order if fits(name)), None)
            if fitting is None:
                order += rng.sample(names, len(names))
            else:
                chosen.append(fitting)
                order.remove(fitting)
        picks = [torch.tensor(rng.sample(range(len(states[name])), generator.settings.prompts)) for name in chosen]
        rows = [sources[name].take(settings.rows, settings.row_tokens) for name in chosen]
        yield list(zip(chosen, picks, rows))


def train_reconstruction(run: Run, out: Path) -> Generator:
    """
    Squared error of weight tokens against collected late checkpoints, weighted a token, over cells that are numbers (§2.3 of
    the design note; the weights, one over a token's mean square, are ours). Returns a generator, and keeps it in `out`.
    """
    settings, options = run.settings, run.settings.reconstruction
    generator = Generator(settings.generator, run.base, settings.seed)
    if out.exists():
        generator.decoder.load_state_dict(_held(out, options)["decoder"])
        return generator
    names = run.training_sets(settings.held_out)
    loras = {name: read_chunks(run.work / "loras" / f"{name}.pt") for name in names}
    states = {name: run.states(name) for name in names}
    tokens = lambda name, index: generator.layout.encode(loras[name][index])
    square = torch.stack([tokens(name, -1).square().nanmean((1, 2)) for name in names]).nanmean(0)
    weight = 1 / square.clamp_min(1e-3)
    weight = (weight / weight.mean())[:, None, None]
    optimiser = torch.optim.AdamW(generator.decoder.parameters(), lr=options.lr, weight_decay=0.1)
    rng = random.Random(settings.seed)
    bar = tqdm(range(options.steps), desc=out.stem, mininterval=5)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = options.lr * cosine(step, options.steps, 1)
        chosen = [rng.choice(names) for _ in range(options.batch)]
        condition = torch.stack([draw(states[name], settings.generator.prompts, rng) for name in chosen])
        target = torch.stack([tokens(name, rng.randrange(len(loras[name]))) for name in chosen])
        with torch.autocast("cpu", torch.bfloat16):
            made = generator.decoder(condition + 1e-4 * torch.randn_like(condition)).float()
        error = (made - (target + 1e-5 * torch.randn_like(target))).square() * weight
        loss = error[~target.isnan()].mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.decoder.parameters(), 1.0)
        optimiser.step()
        bar.set_postfix(loss=f"{loss.item():.4f}")
        if (step + 1) % 10 == 0:
            log_line(out.with_suffix(".log.jsonl"), step=step + 1, loss=round(loss.item(), 5))
    generator.save(out, training=asdict(options), step=options.steps)
    return generator


def train_trunk(run: Run) -> None:
    """Writes `trunk.pt`: a generator trained without all held-out sets."""
    settings = run.settings
    if settings.reconstruction.steps > 0:
        generator = train_reconstruction(run, run.work / "reconstruction.pt")
    else:
        generator = Generator(settings.generator, run.base, settings.seed)
    names = run.training_sets(settings.held_out)
    train_end_to_end(generator, run.base, *_material(run, names, "trunk"), settings.trunk, run.work / "trunk.pt")


def train_local(run: Run) -> None:
    """Writes `local.pt`: the trunk, trained on with locality, still without all held-out sets."""
    settings = run.settings
    generator = _continued(run, "trunk.pt")
    names = run.training_sets(settings.held_out)
    train_end_to_end(generator, run.base, *_material(run, names, "local"), settings.local, run.work / "local.pt")


def _continued(run: Run, file: str) -> Generator:
    generator = Generator(run.settings.generator, run.base)
    generator.decoder.load_state_dict(torch.load(run.work / file, weights_only=False)["decoder"])
    return generator


def train_folds(run: Run) -> None:
    """Writes `fold-<set>.pt` for each held-out set: from `local.pt` on, or the trunk where there is none, with every set but that one."""
    for held in run.settings.held_out:
        generator = _continued(run, "local.pt" if run.settings.local.steps else "trunk.pt")
        names = run.training_sets([held])
        out = run.work / f"fold-{held}.pt"
        train_end_to_end(generator, run.base, *_material(run, names, f"fold-{held}"), run.settings.fold, out)


def _material(run: Run, names: list[str], purpose: str):
    return {name: run.source(name, purpose) for name in names}, {name: run.states(name) for name in names}
