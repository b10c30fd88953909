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
class TaskSettings:
    """
    Tasks with head-room (`recipe.tasks`). `folder`: public rows, none for the programmatic tasks alone. `tiers`: the committed file of
    what is held out. `conditions`: prompts (instruction and input), descriptions or both, `condition_texts` of a task. A share of
    the rows to train on have the instruction in their prompt. `pools` and `families`: tasks to train on over these kinds of input
    and of these families alone. `limit`: so many of them, drawn by seed; 0 for all.
    `counting`: generators and multi-task LoRAs train on tasks that `ceilings` found to have head-room alone.
    """

    folder: str | None
    tiers: str
    rows: int = 300
    test_rows: int = 200
    conditions: str = "prompts"
    condition_texts: int = 64
    instructed_share: float = 0.25
    pools: list[str] | None = None
    families: list[str] | None = None
    limit: int = 0
    counting: bool = True


@dataclass
class CeilingSettings:
    """
    Own LoRAs of tasks and their head-room. `upper`: adapters in so many upper layers alone, over states of the lower ones that are
    computed once a row; 0 for all layers. `judged`: rows to judge by, of those to train on. `headroom`: by how much the
    own LoRA must be above the instructed base. `file`: where the lines go, for a file that is kept with the recipe; without one they are
    in the work folder.
    """

    steps: int = 60
    lr: float = 1e-3
    rows: int = 16
    tokens: int = 480
    side_by_side: int = 4
    upper: int = 0
    judged: int = 60
    headroom: float = 0.2
    file: str | None = None


@dataclass
class JudgeSettings:
    """`draws` conditions a task; the generators of `seeds`; `shots` labelled and `unlabeled` prompts before an input, as baselines."""

    rows: int = 200
    draws: int = 5
    shots: int = 4
    unlabeled: int = 16
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])


@dataclass
class Settings:
    """
    A whole run. Paths are relative to where the commands are called; `card` is a template of the model card. `generators`: with tasks, those
    that are compared, each trained from every one of `judge.seeds`.
    """

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
    tasks: TaskSettings | None = None
    generators: dict[str, GeneratorSettings] = field(default_factory=dict)
    ceilings: CeilingSettings = field(default_factory=CeilingSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)

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
            "ceilings": CeilingSettings,
            "judge": JudgeSettings,
        }
        if values.get("tasks"):
            parts["tasks"] = TaskSettings
        for name, part in parts.items():
            values[name] = part(**values.get(name, {}))
        values["generators"] = {name: GeneratorSettings(**one) for name, one in values.get("generators", {}).items()}
        read = lambda one: (one.prompts, one.tokens, one.encoder_layers, one.width)
        if any(read(one) != read(values["generator"]) for one in values["generators"].values()):
            raise SystemExit("All of `generators` need prompts, tokens, encoder_layers and width of `generator`: they read the same conditions.")
        return Settings(**values)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)
