"""Files that are there whole or not at all, and logs."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def save_whole(value: object, path: Path) -> None:
    """`torch.save`, under another name until all of it is written; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(value, part)
    part.rename(path)


def log_line(path: Path, **values) -> None:
    """Appends a JSON line."""
    with open(path, "a") as file:
        file.write(json.dumps(values) + "\n")
