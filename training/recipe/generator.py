"""The generator: a condition drawn from prompts -> weight tokens -> a LoRA of the base, and its files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .base_model import BaseModel, Lora
from .decoder import Decoder
from .files import save_whole
from .layout import Layout


@dataclass
class GeneratorSettings:
    """What fixes the generator's shape. `trunk` is (N, L, C) after each layer but the last, whose output is the layout's."""

    prompts: int = 16
    tokens: int = 48
    encoder_layers: int = 3
    width: int = 384
    kernel: int = 3
    trunk: list[tuple[int, int, int]] = field(default_factory=lambda: [(64, 24, 160), (256, 10, 194)])
    rank: int = 8
    alpha: float = 16.0
    targets: list[str] = field(default_factory=lambda: list(Layout.targets))


class Generator:
    """A decoder together with the layout of what it makes."""

    def __init__(self, settings: GeneratorSettings, base: BaseModel, seed: int = 0):
        self.settings = settings
        self.layout = Layout(base.shape, settings.rank, settings.alpha, tuple(settings.targets))
        first = (settings.prompts, settings.tokens, settings.width)
        self.decoder = Decoder([first, *settings.trunk, self.layout.token_shape], settings.kernel)
        self.decoder.start(self.rows_of_b(), seed)
        self.decoder.to(base.device)

    def rows_of_b(self) -> Tensor:
        """Which tokens [T] are chunks of B."""
        flags, width = [], self.layout.chunk_width
        for name in self.layout.modules:
            into, out = self.layout.base.sides(name)
            flags += [False] * (into // width) + [True] * (out // width)
        return torch.tensor(flags * self.layout.base.layers)

    def loras(self, conditions: Tensor) -> Lora:
        """Conditions [B, N, L, C] -> a LoRA each; differentiable. The convolutions run in bfloat16 on CPUs, in TF32 on GPUs."""
        with torch.autocast("cpu", torch.bfloat16, enabled=conditions.device.type == "cpu"):
            tokens = self.decoder(conditions)
        return self.layout.to_lora(self.layout.decode(tokens.float()))

    @torch.no_grad()
    def chunks(self, condition: Tensor) -> Tensor:
        """The chunks [T, rank, chunk_width] of one condition [N, L, C], in float32."""
        device = next(self.decoder.parameters()).device
        return self.layout.decode(self.decoder(condition[None].to(device))[0])

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
