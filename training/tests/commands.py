"""The recipe's commands, called in this process: loading PyTorch takes longer than most of them do on a tiny base."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from recipe.__main__ import main

TRAINING = Path(__file__).parents[1]


def recipe(*words: object) -> str:
    """What a command prints."""
    said = io.StringIO()
    with contextlib.chdir(TRAINING), contextlib.redirect_stdout(said):
        main([str(word) for word in words])
    return said.getvalue()


def refused(*words: object) -> str:
    """Why a command that must not succeed ends."""
    try:
        recipe(*words)
    except (Exception, SystemExit) as error:
        return str(error)
    raise AssertionError(f"{words} succeeded")
