"""The generator: a condition drawn from prompts -> a LoRA of the base, by weight tokens or by bases, and its files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .base_model import BaseModel, BaseShape, Lora
from .bases import Bases
from .decoder import Decoder
from .files import save_whole
from .layout import Layout
from .precision import rounded_on_cpu


@dataclass
class GeneratorSettings:
    """
    What fixes the generator's shape. Kinds: the convolutional `decoder` of weight tokens, whose `trunk` is (N, L, C) after each layer but the
    last, whose output is the layout's; and `bases`, `bases` of them a module mixed by a mapper of `hidden` width with `heads`.
    `upper`: LoRAs of so many upper layers alone; 0 for all. `constant`: to compare with, every condition is zeros.
    """

    prompts: int = 16
    tokens: int = 48
    encoder_layers: int = 3
    width: int = 384
    kernel: int = 3
    trunk: list[tuple[int, int, int]] = field(default_factory=lambda: [(64, 24, 160), (256, 10, 194)])
    rank: int = 8
    alpha: float = 16.0
    targets: list[str] = field(default_factory=lambda: list(Layout.targets))
    kind: str = "decoder"
    bases: int = 32
    hidden: int = 256
    heads: int = 8
    upper: int = 0
    constant: bool = False

    def layout(self, base: BaseShape) -> Layout:
        return Layout(base, self.rank, self.alpha, tuple(self.targets), self.upper)


class Generator:
    """A network (`decoder`, of either kind) together with the layout of what it makes."""

    def __init__(self, settings: GeneratorSettings, base: BaseModel, seed: int = 0):
        self.settings = settings
        self.layout = settings.layout(base.shape)
        self.decoder: Decoder | Bases
        if settings.kind == "bases":
            self.decoder = Bases(self.layout, settings.width, settings.bases, settings.hidden, settings.heads, seed)
        elif settings.kind == "decoder":
            first = (settings.prompts, settings.tokens, settings.width)
            self.decoder = Decoder([first, *settings.trunk, self.layout.token_shape], settings.kernel)
            self.decoder.start(self.rows_of_b(), seed)
        else:
            raise SystemExit(f"A generator's kind is decoder or bases, not {settings.kind}.")
        self.decoder.to(base.device)

    def rows_of_b(self) -> Tensor:
        """Which tokens [T] are chunks of B."""
        flags, width = [], self.layout.chunk_width
        for name in self.layout.modules:
            into, out = self.layout.base.sides(name)
            flags += [False] * (into // width) + [True] * (out // width)
        return torch.tensor(flags * len(self.layout.layers))

    def fit(self, conditions: Tensor) -> None:
        """Starts what reads prompts from conditions [B, N, L, C] of different tasks, where the kind of generator has such a start."""
        if isinstance(self.decoder, Bases) and not self.settings.constant:
            self.decoder.mapper.fit(conditions)

    def _chunks(self, conditions: Tensor) -> Tensor:
        if self.settings.constant:
            conditions = torch.zeros_like(conditions)
        made = self.decoder(conditions).float()
        return made if self.settings.kind == "bases" else self.layout.decode(made)

    def loras(self, conditions: Tensor) -> Lora:
        """Conditions [B, N, L, C] -> a LoRA each; differentiable. Products may be rounded: to bfloat16 on CPUs that have it, to TF32 on GPUs."""
        with rounded_on_cpu(conditions.device):
            return self.layout.to_lora(self._chunks(conditions))

    @torch.no_grad()
    def chunks(self, condition: Tensor) -> Tensor:
        """The chunks [T, rank, chunk_width] of one condition [N, L, C], in float32."""
        device = next(self.decoder.parameters()).device
        return self._chunks(condition[None].to(device))[0]

    def save(self, path: Path, **extra) -> None:
        """Writes settings, weights and whatever else, whole or not at all."""
        save_whole({"settings": asdict(self.settings), "decoder": self.decoder.state_dict(), **extra}, path)

    @classmethod
    def load(cls, path: Path, base: BaseModel) -> tuple["Generator", dict]:
        """
        The generator of a file with its weights rounded to half precision, as bundles store them, so that what is judged is
        what is shipped; and the rest of what the file holds.
        """
        held = torch.load(path, weights_only=False, map_location=base.device)
        generator = cls(GeneratorSettings(**held.pop("settings")), base)
        generator.decoder.load_state_dict({name: value.half().float() for name, value in held.pop("decoder").items()})
        return generator, held
