"""The hyper-convolutional decoder as PyTorch modules: the architecture of the paper (§2 of the design note), our own code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Features = tuple[int, int, int]


class HyperConv(nn.Module):
    """The two-branch convolution of a cascade layer, (N, L, C) -> (N, L', C')."""

    def __init__(self, source: Features, target: Features, kernel: int):
        super().__init__()
        (_, l, c), (_, l2, c2) = source, target
        self.norm = nn.LayerNorm((l, c))
        conv = lambda a, b: nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=False)
        self.conv1w, self.conv1h = conv(c, c2), conv(l, l2)
        self.conv2h, self.conv2w = conv(l, l2), conv(c, c2)
        self.bias = nn.Parameter(torch.zeros(l2, c2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)  # [B, N, L, C]
        width = self.conv1h(self.conv1w(x.permute(0, 3, 2, 1)).permute(0, 2, 3, 1)).permute(0, 2, 1, 3)
        height = self.conv2w(self.conv2h(x.permute(0, 2, 1, 3)).permute(0, 3, 1, 2)).permute(0, 3, 2, 1)
        return (width + torch.tanh(height) + self.bias) / 3


class Layer(nn.Module):
    """One cascade layer (N, L, C) -> (N', L', C'); adds its input where nothing changes shape."""

    def __init__(self, source: Features, target: Features, kernel: int):
        super().__init__()
        self.linear1 = HyperConv(source, target, kernel)
        self.linear2 = nn.Conv2d(source[0], target[0], kernel, padding=kernel // 2)
        self.residual = source == target

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear2(self.linear1(x))
        return y + x if self.residual else y


class Decoder(nn.Module):
    """Condition [B, N, L, C] -> weight tokens [B, T, H, W]. The state dict has the published names behind `model.decoder.`."""

    def __init__(self, features: list[Features], kernel: int):
        super().__init__()
        self.features, self.kernel = [tuple(one) for one in features], kernel
        pairs = zip(self.features, self.features[1:])
        self.module_list = nn.ModuleList(Layer(source, target, kernel) for source, target in pairs)

    def forward(self, condition: Tensor) -> Tensor:
        for layer in self.module_list:
            condition = layer(condition)
        return condition

    @torch.no_grad()
    def start(self, is_b: Tensor, seed: int = 0, spread: float = 0.2) -> None:
        """
        Weights to train end to end from. Prompts are first averaged, as their order means nothing yet; `norm.bias` gives every
        layer features that do not depend on prompts; the rows of B [T] start at 0, so the first adapter does nothing.
        A token of zeros is a chunk of zeros (§3.4), with a deviation of 0.113 that lets gradients through.
        """
        random = torch.Generator().manual_seed(seed)
        normal = lambda shape, std: torch.randn(shape, generator=random) * std
        for index, layer in enumerate(self.module_list):
            one = layer.linear1
            one.norm.bias.copy_(normal(one.norm.bias.shape, 1.0))
            for conv in (one.conv1w, one.conv1h, one.conv2h, one.conv2w):
                fan = conv.weight[0].numel()
                conv.weight.copy_(normal(conv.weight.shape, (2 if conv is one.conv2h else 1) * fan**-0.5))
            weight = layer.linear2.weight
            rows, n, k = weight.shape[:3]
            layer.linear2.bias.zero_()
            if index == 0:
                same = normal((rows, 1, k, k), 1.0).expand(rows, n, k, k)
                weight.copy_((same + normal(weight.shape, 0.3)) / (n * k))
            else:
                weight.copy_(normal(weight.shape, (n * k * k) ** -0.5))
            if index == len(self.module_list) - 1:
                weight.mul_(spread / 0.5)
                weight[is_b] = 0

    def published_state(self) -> dict[str, Tensor]:
        return {f"model.decoder.{name}": value for name, value in self.state_dict().items()}
