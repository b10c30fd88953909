"""Everything a run is told, in one JSON file: data, base, encoder, generator, rates."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .generator import GeneratorSettings


@dataclass
class EndToEndSettings:
    """
    Rates and sizes of end-to-end training. A step takes `sets_a_step` sets, and of each at most `rows` rows of `row_tokens` tokens in
    all. `locality` weighs how far an adapter moves the base's answers (KL divergence) on at most `locality_rows` rows of
    `locality_tokens` tokens of other forms (`recipe.data.apart`).
    """

    steps: int = 1200
    lr: float = 3e-4
    warmup: int = 30
    sets_a_step: int = 2
    rows: int = 10
    row_tokens: int = 450
    clip: float = 1.0
    locality: float = 0.5
    locality_rows: int = 4
    locality_tokens: int = 200
    seed: int = 999
    save_every: int = 50


@dataclass
class ReconstructionSettings:
    """
    The paper's training on collected LoRAs; 0 steps leave it out. `first` starts end-to-end training from what it made;
    otherwise it makes a generator of its own, to compare with.
    """

    steps: int = 0
    lr: float = 3e-4
    batch: int = 4
    first: bool = False


@dataclass
class CollectSettings:
    """
    LoRA tuning of single sets and of all sets together, `side_by_side` LoRAs at once. The last `keep` steps run at a tenth of the
    rate, a checkpoint each.
    """

    steps: int = 50
    keep: int = 10
    lr: float = 1e-3
    rows: int = 10
    tokens: int = 700
    side_by_side: int = 1
    multi_task_rows: int = 16
    multi_task_tokens: int = 1000
    multi_task_steps: int = 400
    multi_task_sets_a_step: int = 4


@dataclass
class EvaluateSettings:
    """
    How much is scored. `controls`: sets whose prompts are given in place of a held-out set's own, one draw each; those that are
    answered in its form (`data.FORMS`) are told apart from the others.
    """

    items: int = 500
    draws: int = 5
    controls: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Settings:
    """A whole run. Paths are relative to where the commands are called; `card` is a template of the model card."""

    base: str
    base_id: str
    encoder: str
    data: str | None
    work: str
    held_out: list[str]
    card: str | None = None
    max_rows: int = 2000
    seed: int = 999
    sets: list[str] | None = None
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    collect: CollectSettings = field(default_factory=CollectSettings)
    reconstruction: ReconstructionSettings = field(default_factory=ReconstructionSettings)
    train: EndToEndSettings = field(default_factory=EndToEndSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)

    @staticmethod
    def read(path: Path) -> "Settings":
        """From JSON; unknown names are refused by the dataclasses."""
        values = json.loads(Path(path).read_text())
        parts = {
            "generator": GeneratorSettings,
            "collect": CollectSettings,
            "reconstruction": ReconstructionSettings,
            "train": EndToEndSettings,
            "evaluate": EvaluateSettings,
        }
        for name, part in parts.items():
            values[name] = part(**values.get(name, {}))
        return Settings(**values)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)
