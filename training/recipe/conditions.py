"""Encoded prompts of a data set, kept on disk, and conditions drawn from them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .encoder import TextEncoder
from .files import save_whole


def encode_prompts(
    encoder: Callable[[], TextEncoder], key: str, prompts: list[str], cache: Path, label: str
) -> Tensor:
    """
    Float16 [prompts, tokens, width]; read from `cache` where the same prompts were encoded before by the encoder of this `key`.
    """
    digest = hashlib.sha256("\0".join([key, *prompts]).encode()).hexdigest()
    path = cache / f"{label}-{digest[:16]}.pt"
    if path.exists():
        return torch.load(path, mmap=True)
    with tqdm(total=len(prompts), desc=f"encoding {label}", leave=False, mininterval=5) as bar:
        states = encoder()(prompts, bar.update)
    save_whole(states, path)
    return states


def draw(states: Tensor, count: int, rng: random.Random) -> Tensor:
    """A condition [N, L, C] of `count` different prompts, in the order drawn; float32."""
    return states[torch.tensor(rng.sample(range(len(states)), count))].float()
