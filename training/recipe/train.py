"""
`train`: the generator, by (a) the paper's reconstruction of collected LoRAs, where settings ask for it, and (b) end to end:
generated LoRAs are applied to the frozen base, and the answers' negative log-likelihood is carried back into the decoder.
"""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from .base_model import BaseModel, Batch, Lora
from .collect import read_chunks
from .conditions import draw
from .data import Encoder, apart
from .files import log_line
from .generator import Generator
from .lora_tuning import RowSource, cosine, prepared
from .lower_half import LowerHalf
from .precision import rounded_on_cpu
from .run import Run
from .settings import EndToEndSettings, ReconstructionSettings

# Steps between two lines of the log.
LOG_EVERY = 10
# Sets whose prompts a generator is started from.
FITTED = 64


@dataclass(frozen=True)
class Step:
    """
    What a step trains on. Group g of `batch` holds the rows that judge the adapter made from prompts `picks[g]` of set
    `names[g]`, and behind them those of other forms that it must leave alone, which `others` has once more. `groups` and
    `elsewhere` are the rows of both batches.
    """

    names: list[str]
    picks: Tensor  # [sets, N]
    batch: Batch
    own: Tensor  # targets of the former rows
    other: Tensor  # targets of the latter
    others: Batch | None
    groups: list[list[dict]]
    elsewhere: list[dict]

    def to(self, device: torch.device) -> "Step":
        others = self.others.to(device) if self.others else None
        move = lambda tensor: tensor.to(device, non_blocking=True)
        moved = {"picks": move(self.picks), "batch": self.batch.to(device), "own": move(self.own), "other": move(self.other)}
        return replace(self, **moved, others=others)

    @staticmethod
    def of(names: list[str], picks: Tensor, groups: list[tuple[list[dict], list[dict]]], encoder: Encoder) -> "Step":
        """From each group's rows and those of other forms."""
        together = [rows + foreign for rows, foreign in groups]
        batch = encoder.batch(together)
        foreign = torch.tensor([mark for rows, others in groups for mark in [False] * len(rows) + [True] * len(others)])
        marks = foreign[batch.owner]
        elsewhere = [row for _, others in groups for row in others]
        others = encoder.batch([elsewhere]) if elsewhere else None
        return Step(names, picks, batch, (~marks).nonzero()[:, 0], marks.nonzero()[:, 0], others, together, elsewhere)


@dataclass(frozen=True)
class Steps(Dataset):
    """The material of every step, which depends on its number and the seed alone. Every set comes as often as any other."""

    sources: dict[str, RowSource]
    pools: dict[str, int]  # prompts of each set that conditions are drawn from
    prompts: int
    settings: EndToEndSettings

    def __len__(self) -> int:
        return self.settings.steps

    def __getitem__(self, step: int) -> Step:
        settings, rng = self.settings, random.Random(f"{self.settings.seed}/{step}")
        names = self._sets_of(step)
        picks = torch.tensor([rng.sample(range(self.pools[name]), self.prompts) for name in names])
        groups = []
        for name in names:
            rows = self.sources[name].take(rng, settings.rows, settings.row_tokens)
            groups.append((rows, self._foreign(name, rng) if settings.locality else []))
        return Step.of(names, picks, groups, self.sources[names[0]].encoder)

    def _sets_of(self, step: int) -> list[str]:
        """A step's part of the seeded permutations of all sets, one behind the other."""
        names, count = sorted(self.sources), self.settings.sets_a_step
        chosen = []
        for place in range(step * count, (step + 1) * count):
            order = random.Random(f"{self.settings.seed}/order/{place // len(names)}").sample(names, len(names))
            chosen.append(order[place % len(names)])
        return chosen

    def _foreign(self, name: str, rng: random.Random) -> list[dict]:
        """A few rows of other forms, of as many sets as there are rows if possible."""
        fitting = [other for other in sorted(self.sources) if apart(name, other)]
        rows, tokens = [], 0
        for other in rng.sample(fitting, min(self.settings.locality_rows, len(fitting))):
            row = self.sources[other].take(rng, 1, self.settings.locality_tokens)[0]
            tokens += self.sources[other].encoder.size(row)
            if rows and tokens > self.settings.locality_tokens:
                break
            rows.append(row)
        return rows


def train_end_to_end(
    generator: Generator,
    base: BaseModel,
    sources: dict[str, RowSource],
    states: dict[str, Tensor],
    settings: EndToEndSettings,
    out: Path,
) -> None:
    """
    Trains `generator` in place; `sources` are the rows and `states` the encoded prompts of each training set. Goes on from
    `out` where an earlier run of the same settings stopped; writes it every `save_every` steps, and a log beside it.
    """
    decoder, device = generator.decoder, base.device
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.0)
    first = 0
    if out.exists():
        held = _held(out, settings, device)
        decoder.load_state_dict(held["decoder"])
        optimiser.load_state_dict(held["optimiser"])
        first = held["step"]
    # Rounding of products that a training step does not notice; judging turns it off again.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    states = {name: one.to(device) for name, one in states.items()}
    below = generator.layout.layers.start
    lower = LowerHalf(base, next(iter(sources.values())).encoder, below) if below else None
    pools = {name: len(one) for name, one in states.items()}
    if not first:
        chosen = random.Random(f"{settings.seed}/fit").sample(sorted(states), min(FITTED, len(states)))
        generator.fit(torch.stack([draw(states[name], generator.settings.prompts, random.Random(name)) for name in chosen]))
    started, unlogged = time.time(), []
    losses_of, elsewhere = {}, 0.0
    bar = tqdm(initial=first, total=settings.steps, desc=out.stem, mininterval=5)
    for step, material in enumerate(prepared(Steps(sources, pools, generator.settings.prompts, settings), first, device), first):
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * cosine(step, settings.steps, settings.warmup)
        material = material.to(device)
        conditions = torch.stack([states[name][picks].float() for name, picks in zip(material.names, material.picks)])
        losses, moved = step_losses(base, generator.loras(conditions), material, lower)
        optimiser.zero_grad(set_to_none=True)
        (losses + settings.locality * moved).mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(decoder.parameters(), settings.clip)
        optimiser.step()
        bar.update()
        unlogged.append((material.names, losses.detach(), moved.mean().detach()))
        if (step + 1) % LOG_EVERY == 0 or step + 1 == settings.steps:
            for names, values, away in unlogged:
                for name, value in zip(names, values.tolist()):
                    losses_of[name] = 0.8 * losses_of.get(name, value) + 0.2 * value
                elsewhere += (0.05 if elsewhere else 1) * (away.item() - elsewhere)
            unlogged = []
            mean = sum(losses_of.values()) / len(losses_of)
            bar.set_postfix(loss=f"{mean:.3f}", elsewhere=f"{elsewhere:.3f}", norm=f"{norm.item():.2f}")
            log_line(
                out.with_suffix(".log.jsonl"),
                step=step + 1,
                loss=round(mean, 4),
                elsewhere=round(elsewhere, 4),
                norm=round(norm.item(), 3),
                seconds=round(time.time() - started),
                sets={name: round(value, 3) for name, value in losses_of.items()},
            )
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            generator.save(out, training=asdict(settings), optimiser=optimiser.state_dict(), step=step + 1)
    bar.close()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def _held(out: Path, settings: EndToEndSettings | ReconstructionSettings, device: torch.device) -> dict:
    """What an earlier run left, if it was one of the same settings."""
    held = torch.load(out, weights_only=False, map_location=device)
    if held["training"] != asdict(settings):
        raise SystemExit(f"{out} was trained with other settings; name another work folder.")
    return held


def step_losses(base: BaseModel, loras: Lora, step: Step, lower: LowerHalf | None = None) -> tuple[Tensor, Tensor]:
    """
    For each adapter [sets] the mean NLL a token on its rows, and the mean KL divergence a token from the base's predictions on
    the answers of rows of other forms, in nats. `lower`: of the layers that carry no LoRA.
    """
    batch, sets = step.batch, len(step.names)
    below = lambda groups: lower.states(groups) if lower else None
    logits, group = base.target_logits(batch, loras, below(step.groups)), batch.group[batch.owner]

    def mean(values: Tensor, targets: Tensor) -> Tensor:
        counts = values.new_zeros(sets).index_add(0, group[targets], torch.ones_like(values))
        return values.new_zeros(sets).index_add(0, group[targets], values) / counts.clamp_min(1)

    own = F.cross_entropy(logits.index_select(0, step.own), batch.labels[step.own], reduction="none")
    losses = mean(own, step.own)
    if step.others is None:
        return losses, torch.zeros_like(losses)
    with torch.no_grad():
        untouched = base.target_logits(step.others, None, below([step.elsewhere])).log_softmax(-1)
    predicted = logits.index_select(0, step.other).log_softmax(-1)
    moved = F.kl_div(predicted, untouched, log_target=True, reduction="none").sum(-1)
    return losses, mean(moved, step.other)


def train_reconstruction(run: Run, out: Path) -> Generator:
    """
    Squared error of weight tokens against collected late checkpoints, weighted a token, over cells that are numbers (§2.3 of
    the design note; the weights, one over a token's mean square, are ours). Returns a generator without all held-out sets, and
    keeps it in `out`.
    """
    settings, options, device = run.settings, run.settings.reconstruction, run.base.device
    generator = Generator(settings.generator, run.base, settings.seed)
    if out.exists():
        generator.decoder.load_state_dict(_held(out, options, device)["decoder"])
        return generator
    names = run.training_sets(settings.held_out)
    loras = {name: read_chunks(run.work / "loras" / f"{name}.pt").to(device) for name in names}
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
        condition = torch.stack([draw(states[name], settings.generator.prompts, rng) for name in chosen]).to(device)
        target = torch.stack([tokens(name, rng.randrange(len(loras[name]))) for name in chosen])
        with rounded_on_cpu(device):
            made = generator.decoder(condition + 1e-4 * torch.randn_like(condition)).float()
        error = (made - (target + 1e-5 * torch.randn_like(target))).square() * weight
        loss = error[~target.isnan()].mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.decoder.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % LOG_EVERY == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
            log_line(out.with_suffix(".log.jsonl"), step=step + 1, loss=round(loss.item(), 5))
    generator.save(out, training=asdict(options), step=options.steps)
    return generator


def train_tasks(run: Run, only: str | None = None) -> None:
    """Writes `<name>-<seed>.pt` for each of the generators that are compared and each seed, all on the same material a seed."""
    settings = run.settings
    stems = {f"{name}-{seed}": (shape, seed) for name, shape in settings.generators.items() for seed in settings.judge.seeds}
    if only not in (None, *stems):
        raise SystemExit(f"These settings make {', '.join(stems)}, and no {only}.")
    names = run.training_sets(run.generators()["generator"])
    sources, states = {name: run.source(name) for name in names}, {name: run.states(name) for name in names}
    for stem, (shape, seed) in stems.items():
        if only in (None, stem):
            generator = Generator(shape, run.base, seed)
            train_end_to_end(generator, run.base, sources, states, replace(settings.train, seed=seed), run.work / f"{stem}.pt")


def train(run: Run, only: str | None = None) -> None:
    """
    Writes `reconstruction.pt` where settings ask for it, `generator.pt` without all held-out sets, and `fold-<set>.pt` for each of
    them, without that one; all from the same start, each by itself. `only` is the stem of one of these.
    """
    if run.settings.generators:
        train_tasks(run, only)
        return
    settings, reconstruction, start = run.settings, run.settings.reconstruction, None
    stems = [*(["reconstruction"] if reconstruction.steps else []), *run.generators()]
    if only not in (None, *stems):
        raise SystemExit(f"These settings make {', '.join(stems)}, and no {only}.")
    if reconstruction.steps and (reconstruction.first or only in (None, "reconstruction")):
        made = train_reconstruction(run, run.work / "reconstruction.pt")
        start = made.decoder.state_dict() if reconstruction.first else None
    for stem, held_out in run.generators().items():
        if only not in (None, stem):
            continue
        generator = Generator(settings.generator, run.base, settings.seed)
        if start:
            generator.decoder.load_state_dict(start)
        names = run.training_sets(held_out)
        sources, states = {name: run.source(name) for name in names}, {name: run.states(name) for name in names}
        train_end_to_end(generator, run.base, sources, states, settings.train, run.work / f"{stem}.pt")
