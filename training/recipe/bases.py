"""
The generator of few numbers: attention over the prompts' states gives coefficients, and every layer's LoRA is a mixture of bases that
all layers share.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .layout import Layout


class Mapper(nn.Module):
    """
    Condition [B, N, L, C] -> coefficients [B, layers, modules, 2, bases]: of each layer's A and B of every module. A learned query a layer
    reads the states of all prompts, and what it read is told apart from other layers' by the layer's `place`; what does not depend on
    prompts is a bias.
    """

    def __init__(self, width: int, layers: int, modules: int, bases: int, hidden: int, heads: int):
        super().__init__()
        self.shape, self.heads = (layers, modules, 2, bases), heads
        self.enter, self.enter_norm = nn.Linear(width, hidden), nn.LayerNorm(hidden)
        self.queries, self.place = (nn.Parameter(torch.zeros(layers, hidden)) for _ in range(2))
        self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(3))
        self.norm, self.last_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.wide, self.narrow = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.head = nn.Linear(hidden, modules * 2 * bases, bias=False)
        self.constant = nn.Parameter(torch.zeros(layers, modules * 2 * bases))

    def forward(self, condition: Tensor) -> Tensor:
        return (self._thought(self._read(condition) + self.place) + self.constant).unflatten(-1, self.shape[1:])

    def _read(self, condition: Tensor) -> Tensor:
        """What each layer's query finds [B, layers, hidden]."""
        x = self.enter_norm(self.enter(condition.flatten(1, 2)))  # [B, N * L, hidden]
        apart = lambda one: one.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        queries = apart(self.queries[None])  # [1, heads, layers, dim]
        keys, values = apart(self.key(x)), apart(self.value(x))
        share = (queries @ keys.transpose(2, 3) * queries.shape[-1] ** -0.5).softmax(-1)
        return self.out((share @ values).transpose(1, 2).flatten(2))

    def _thought(self, y: Tensor) -> Tensor:
        """The part of the coefficients that depends on what was read."""
        y = y + self.narrow(nn.functional.gelu(self.wide(self.norm(y))))
        return self.head(self.last_norm(y))

    @torch.no_grad()
    def start(self, random: torch.Generator) -> None:
        """Random weights; a sum over the bases has the spread of one."""
        for layer in (self.enter, self.key, self.value, self.out, self.wide, self.narrow):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=random) * layer.in_features**-0.5)
            layer.bias.zero_()
        for one in (self.queries, self.place):
            one.copy_(torch.randn(one.shape, generator=random))
        self.head.weight.copy_(torch.randn(self.head.weight.shape, generator=random) * self._spread * self.head.in_features**-0.5)
        self.constant.copy_(torch.randn(self.constant.shape, generator=random) * self._spread)

    @torch.no_grad()
    def fit(self, conditions: Tensor) -> None:
        """
        Behind `start`, from conditions [B, N, L, C] of different tasks: half of a coefficient's variance is then between tasks, and half
        constant. Hidden states of any prompts are mostly alike, and their means over many tokens still more: without this, tasks
        moved coefficients by a sixteenth of their spread. So states are centred and scaled as they enter, and again when they were read.
        """
        states = conditions.flatten(0, 2)
        self.enter.weight.div_(states.std(0).clamp_min(1e-6))
        self.enter.bias.copy_(-self.enter.weight @ states.mean(0))
        read = self._read(conditions)
        scale = 1 / _between(read).clamp_min(1e-6)
        self.out.weight.mul_(scale)
        self.place.sub_(read.mean(0) * scale)
        made = self._thought(self._read(conditions) + self.place)
        scale = self._spread / _between(made).clamp_min(1e-6)
        self.head.weight.mul_(scale)
        self.constant.sub_(made.mean(0) * scale)

    @property
    def _spread(self) -> float:
        """Of each of the two parts of a coefficient."""
        return (2 * self.shape[-1]) ** -0.5


def _between(values: Tensor) -> Tensor:
    """The root mean square of what differs between the first axis's entries."""
    return (values - values.mean(0)).square().mean().sqrt()


class Bases(nn.Module):
    """Condition [B, N, L, C] -> chunks of a LoRA [B, T, rank, chunk_width]. All B are zero at first, so the first LoRA does nothing."""

    def __init__(self, layout: Layout, width: int, bases: int, hidden: int, heads: int, seed: int = 0):
        super().__init__()
        self.layout = layout
        self.mapper = Mapper(width, len(layout.layers), len(layout.modules), bases, hidden, heads)
        random = torch.Generator().manual_seed(seed)
        self.mapper.start(random)
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for name in layout.modules:
            into, out = layout.base.sides(name)
            # PEFT's start of A, mixed.
            self.a[name] = nn.Parameter((torch.rand(bases, layout.rank, into, generator=random) * 2 - 1) / math.sqrt(into))
            # Transposed: [bases, rank, out].
            self.b[name] = nn.Parameter(torch.zeros(bases, layout.rank, out))

    def forward(self, condition: Tensor) -> Tensor:
        coefficients, parts = self.mapper(condition), []
        for index, name in enumerate(self.layout.modules):
            for side, bases in enumerate((self.a[name], self.b[name])):
                mixed = (coefficients[:, :, index, side] @ bases.flatten(1)).unflatten(-1, bases.shape[1:])
                parts.append(mixed.unflatten(-1, (-1, self.layout.chunk_width)).transpose(2, 3))
        return torch.cat(parts, 2).flatten(1, 2)
