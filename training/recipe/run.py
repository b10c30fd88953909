"""What all commands share: the settings of a run and everything loaded from them, once, when first needed."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from .base_model import BaseModel, load_base
from .conditions import encode_prompts
from .data import DataSet, Encoder, load_sets
from .encoder import TextEncoder
from .layout import Layout
from .lora_tuning import RowSource
from .settings import Settings
from .tasks.registry import TRAIN
from .tasks.sets import TaskSets


class Run:
    """A run's settings, its folder, and its parts."""

    def __init__(self, settings_file: Path, device: str | None = None):
        self.settings = Settings.read(settings_file)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.work = Path(self.settings.work)
        self.work.mkdir(parents=True, exist_ok=True)
        kept = self.work / "settings.json"
        if not kept.exists():
            kept.write_text(self.settings.to_json())
        torch.manual_seed(self.settings.seed)
        # Generated adapters are judged as the service computes them.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    @cached_property
    def _loaded(self) -> tuple[BaseModel, Encoder]:
        base, tokenizer, _ = load_base(Path(self.settings.base), device=self.device)
        return base, Encoder(tokenizer)

    @property
    def base(self) -> BaseModel:
        return self._loaded[0]

    @property
    def chat(self) -> Encoder:
        return self._loaded[1]

    @cached_property
    def sets(self) -> dict[str, DataSet]:
        settings = self.settings
        data = Path(settings.data) if settings.data else None
        sets = load_sets(data, settings.max_rows, only=settings.sets)
        if self.tasks:
            sets |= {name: self.tasks.data_set(name) for name in self.tasks.tasks}
        missing = set(settings.held_out) - set(sets)
        if missing:
            raise SystemExit(f"held_out names sets that are not there: {', '.join(sorted(missing))}")
        return sets

    @cached_property
    def tasks(self) -> TaskSets | None:
        """The tasks with head-room, where settings ask for them."""
        return TaskSets(self.settings.tasks, self.settings.seed) if self.settings.tasks else None

    @cached_property
    def text_encoder(self) -> TextEncoder:
        generator = self.settings.generator
        return TextEncoder(Path(self.settings.encoder), generator.encoder_layers, generator.tokens, self.device)

    @cached_property
    def layout(self) -> Layout:
        return self.settings.generator.layout(self.base.shape)

    @property
    def ceiling_layout(self) -> Layout:
        """Of the own LoRAs of tasks."""
        return replace(self.layout, upper=self.settings.ceilings.upper)

    def training_sets(self, held_out: list[str]) -> list[str]:
        return [name for name in self.sets if name not in held_out]

    def generators(self) -> dict[str, list[str]]:
        """Generators by the stem of their file, and the sets each is trained without: all held-out ones, or one of them."""
        held_out = self.settings.held_out
        unseen = self._untrained_tasks() if self.tasks else []
        return {"generator": held_out + unseen, **{f"fold-{name}": [name, *unseen] for name in held_out}}

    def _untrained_tasks(self) -> list[str]:
        """Tasks that are held out, and those without head-room where settings leave them out."""
        found = self.headroom()
        if self.settings.tasks.counting and not found:
            raise SystemExit(f"Which tasks have head-room is not known: run `ceilings` first ({self.ceilings_file} has none).")
        counts = lambda name: not self.settings.tasks.counting or found.get(name, {}).get("counts", False)
        return [name for name in self.tasks.tasks if self.tasks.part[name] != TRAIN or not counts(name)]

    @property
    def ceilings_file(self) -> Path:
        options = self.settings.ceilings
        return Path(options.file) if options.file else self.work / f"{self._ceilings}.jsonl"

    @property
    def _ceilings(self) -> str:
        upper = self.settings.ceilings.upper
        return f"ceilings-upper-{upper}" if upper else "ceilings"

    def headroom(self) -> dict[str, dict]:
        """What `ceilings` found by task."""
        lines = self.ceilings_file.read_text().splitlines() if self.ceilings_file.exists() else []
        return {one["task"]: one for one in map(json.loads, lines)}

    def ceiling_lora(self, name: str) -> Path:
        """The file of a task's own LoRA. Too big to be kept with the recipe: `ceilings --loras` makes it again."""
        return self.work / f"{self._ceilings}-loras" / f"{name}.pt"

    def source(self, name: str) -> RowSource:
        """Rows of a set to train on."""
        if name not in self._sources:
            self.chat.tokenize(self.sets[name].train)
            self._sources[name] = RowSource(self.sets[name].train, self.chat)
        return self._sources[name]

    @cached_property
    def _sources(self) -> dict[str, RowSource]:
        return {}

    def states(self, name: str) -> Tensor:
        """The pool that conditions are drawn from, encoded."""
        return encode_prompts(lambda: self.text_encoder, self._encoder_key, self.texts(name), self.work / "prompts", name)

    def texts(self, name: str) -> list[str]:
        """What conditions are drawn from: the prompts of a set's training rows, where it has no texts of its own."""
        return self.sets[name].texts or [row["prompt"] for row in self.sets[name].train]

    @property
    def _encoder_key(self) -> str:
        generator = self.settings.generator
        return f"{generator.encoder_layers}/{generator.tokens}"

    def shuffled_states(self, name: str, count: int) -> Tensor:
        """The same for the first `count` prompts with the words of each in random order."""
        rng = random.Random(f"{name}/shuffled/{self.settings.seed}")
        prompts = []
        for text in self.texts(name)[:count]:
            words = text.split()
            rng.shuffle(words)
            prompts.append(" ".join(words))
        label = f"{name}-shuffled"
        return encode_prompts(lambda: self.text_encoder, self._encoder_key, prompts, self.work / "prompts", label)

    def test_rows(self, name: str, count: int) -> list[dict]:
        """The first `count` rows to judge by, in their seeded order."""
        return [row for row in self.sets[name].test if self.chat.fits(row)][:count]
