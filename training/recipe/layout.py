"""Weight tokens <-> LoRA matrices in PyTorch: the layout, encoding and decoding of the paper's system (§3 of the design note)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from .base_model import MODULES, PATHS, SITES, BaseShape, Lora


@dataclass(frozen=True)
class Layout:
    """
    Which modules carry LoRA, and how their matrices are cut into chunks `[rank, chunk_width]`. `upper`: so many upper layers alone
    carry it; 0 for all.
    """

    base: BaseShape
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = MODULES
    upper: int = 0

    def __post_init__(self):
        unknown = set(self.targets) - set(MODULES)
        if unknown or not self.targets:
            raise ValueError(f"targets are some of {', '.join(MODULES)}, not {', '.join(sorted(unknown)) or 'none'}")

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(name for name in MODULES if name in self.targets)

    @property
    def layers(self) -> range:
        """The layers that carry LoRA."""
        return range(self.base.layers - self.upper if self.upper else 0, self.base.layers)

    @property
    def chunk_width(self) -> int:
        """The greatest common divisor of the base's widths, so that no chunk needs padding; the service's importer agrees."""
        base = self.base
        return reduce(math.gcd, (base.hidden, base.heads * base.head_dim, base.kv_heads * base.head_dim, base.ffn))

    @property
    def layer_tokens(self) -> int:
        return sum(sum(self.base.sides(name)) for name in self.modules) // self.chunk_width

    @property
    def token_shape(self) -> tuple[int, int, int]:
        """(T, H, W) of the decoder's output."""
        return len(self.layers) * self.layer_tokens, self.rank + 2, self.chunk_width + 2

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [..., T, H, W] -> chunks [..., T, rank, chunk_width], float32 (§3.4)."""
        m_rows, s_rows = tokens[..., -2:, 0::2].mean(-1), tokens[..., -2:, 1::2].mean(-1)
        columns = torch.stack([tokens[..., 0::2, -2:].mean(-2), tokens[..., 1::2, -2:].mean(-2)], -2)
        # [..., T, a, c]: c = 0 carries the mean, c = 1 the deviation.
        scale = (torch.stack([m_rows, s_rows], -1) + columns) / 2
        mu = (scale[..., 0] / 8).mean(-1)
        sigma = ((torch.exp(scale[..., 1] - 1.6) - 0.1) / 0.9).mean(-1)
        return tokens[..., : self.rank, : self.chunk_width] * sigma[..., None, None] + mu[..., None, None]

    def encode(self, chunks: Tensor) -> Tensor:
        """Chunks [T, rank, chunk_width] -> tokens [T, H, W]; cells of constant chunks are NaN (§3.3, in float32)."""
        mu, sigma = chunks.mean((1, 2)), chunks.std((1, 2))
        out = chunks.new_empty(len(chunks), *self.token_shape[1:])
        out[:, : self.rank, : self.chunk_width] = (chunks - mu[:, None, None]) / sigma[:, None, None]
        m, s = 8 * mu, torch.log(0.9 * torch.where(sigma.isnan(), 1.0, sigma) + 0.1) + 1.6
        out[:, -2:, 0::2], out[:, -2:, 1::2] = m[:, None, None], s[:, None, None]
        out[:, :, -2], out[:, :, -1] = m[:, None], s[:, None]
        return out

    def matrices(self, chunks: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """
        Chunks [groups, T, rank, chunk_width], or of one LoRA without groups, -> every module's A [layers, groups, rank, in] and B
        transposed [layers, groups, rank, out], differentiable.
        """
        per_layer = chunks.view(-1, len(self.layers), self.layer_tokens, self.rank, self.chunk_width).transpose(0, 1)
        sides = [side for name in self.modules for side in self.base.sides(name)]
        parts = iter(per_layer.split([side // self.chunk_width for side in sides], 2))
        matrix = lambda part: part.transpose(2, 3).flatten(3)
        return {name: (matrix(next(parts)), matrix(next(parts))) for name in self.modules}

    def to_lora(self, chunks: Tensor) -> Lora:
        """The same as the base's forward pass takes it, scaled."""
        scale, modules, lora = self.alpha / self.rank, self.matrices(chunks), {}
        for site, names in SITES.items():
            widths = [self.base.sides(name)[1] for name in names]
            pairs = [(modules[name], sum(widths[:at])) for at, name in enumerate(names) if name in modules]
            if pairs:
                a = torch.cat([a for (a, _), _ in pairs], 2)
                reach = lambda b, start: F.pad(b * scale, (start, sum(widths) - start - b.shape[-1]))
                lora[site] = a, torch.cat([reach(b, start) for (_, b), start in pairs], 2)
        return lora

    def to_chunks(self, state: dict[str, Tensor]) -> Tensor:
        """A PEFT state dict -> chunks [T, rank, chunk_width]."""
        chunks = []
        for layer in self.layers:
            for name in self.modules:
                for side in "AB":
                    matrix = state[tensor_name(layer, name, side)].float()
                    matrix = matrix.T if side == "B" else matrix
                    chunks.append(matrix.reshape(self.rank, -1, self.chunk_width).transpose(0, 1))
        return torch.cat(chunks)

    def to_state(self, chunks: Tensor) -> dict[str, Tensor]:
        """Chunks of one LoRA -> a PEFT state dict."""
        return {
            tensor_name(layer, name, side): (matrix[0] if side == "A" else matrix[0].T).contiguous()
            for name, pair in self.matrices(chunks).items()
            for side, stack in zip("AB", pair)
            for layer, matrix in zip(self.layers, stack)
        }

    def to_json(self, base_id: str) -> str:
        """The file of `loradrop import --layout`."""
        base = self.base
        shape = {
            "layers": base.layers,
            "hidden": base.hidden,
            "query": base.heads * base.head_dim,
            "kv": base.kv_heads * base.head_dim,
            "ffn": base.ffn,
            "rank": self.rank,
            "alpha": self.alpha,
            "targets": list(self.modules),
        }
        return json.dumps({"id": base_id, "architecture": "llama", "shape": shape}, indent=2)


def tensor_name(layer: int, module: str, side: str) -> str:
    """PEFT's name of a LoRA matrix."""
    return f"base_model.model.model.layers.{layer}.{PATHS[module]}.lora_{side}.weight"
