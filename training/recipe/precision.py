"""What the base and the generators compute in: bfloat16 where the device multiplies it, float32 where it would be emulated."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

# Any of them makes products of bfloat16 on a CPU faster than those of float32; without, they take several times as long.
CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def native_dtype(device: torch.device | str) -> torch.dtype:
    """What products are fastest in, of what is precise enough for the frozen base."""
    if torch.device(device).type != "cpu":
        return torch.bfloat16
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if any(has.get(name) for name in CPU_INSTRUCTIONS) else torch.float32


def rounded_on_cpu(device: torch.device | str) -> AbstractContextManager:
    """Inside it, a generator's products are in bfloat16 on CPUs that have such instructions, and untouched anywhere else."""
    on = torch.device(device).type == "cpu" and native_dtype(device) == torch.bfloat16
    return torch.autocast("cpu", torch.bfloat16, enabled=on)
