"""
`ceilings`: an own LoRA of every task, and whether it is so far above the instructed base that the task counts. Judged on rows to train
on; no row of a tier is looked at.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from .base_model import Lora
from .decoding import answers
from .files import log_line, save_whole
from .lora_tuning import Helpings, RowSource, tune
from .lower_half import LowerHalf
from .run import Run
from .tasks.exact import is_outside, is_right

# Tokens that an answer may be longer than the longest right one before it is cut: it is wrong by then.
MARGIN = 3
# Of every task rows to tune on, and rows to judge by.
Rows = dict[str, tuple[list[dict], list[dict]]]


def ceilings(run: Run, minutes: float | None, only: list[str] | None) -> Path:
    """
    Writes a line a task into `run.ceilings_file`, and its LoRA into the work folder; tasks that have a line are left
    out. The order is seeded and mixes families, so that what is found after any number of `minutes` speaks for all.
    """
    options, found, done = run.settings.ceilings, run.ceilings_file, run.headroom()
    names = [name for name in _order(run) if name not in done and (not only or name in only)]
    started, tokens, trained = time.time(), 0, 0.0
    bar = tqdm(total=len(names), desc="ceilings", unit="task", mininterval=5)
    for part in _side_by_side(run, names):
        if minutes and time.time() - started > 60 * minutes:
            break
        begun = time.time()
        rows = _rows(run, part)
        base_said = _judged(run, rows, None, "asked")
        between = time.time()
        chunks, seen = _tuned(run, rows)
        spent = time.time() - between
        own_said = _judged(run, rows, run.ceiling_layout.to_lora(chunks.float().to(run.base.device)), "prompt")
        tokens, trained = tokens + seen, trained + spent
        for index, name in enumerate(part):
            save_whole(chunks[index], run.ceiling_lora(name))
            task = run.tasks.tasks[name]
            log_line(
                found,
                task=name,
                family=task.family,
                part=run.tasks.part[name],
                instructed=base_said[index],
                own=own_said[index],
                counts=own_said[index]["right"] - base_said[index]["right"] >= options.headroom - 1e-9,
                steps=options.steps,
                rows=options.rows,
                layers=len(run.ceiling_layout.layers),
                tokens=seen // len(part),
                tune_seconds=round(spent / len(part), 1),
                seconds=round((time.time() - begun) / len(part), 1),
            )
        bar.update(len(part))
        bar.set_postfix(tokens_a_second=f"{tokens / trained:.0f}")
    bar.close()
    return found


def missing_loras(run: Run, only: list[str] | None) -> int:
    """Tunes the LoRAs again of tasks that have a line, from here or another machine, but no LoRA here. Returns how many it made."""
    missing = [name for name in run.headroom() if name in run.tasks.tasks and not run.ceiling_lora(name).exists() and (not only or name in only)]
    bar = tqdm(total=len(missing), desc="LoRAs", unit="task", mininterval=5)
    for part in _side_by_side(run, missing):
        for name, chunks in zip(part, _tuned(run, _rows(run, part))[0]):
            save_whole(chunks, run.ceiling_lora(name))
        bar.update(len(part))
    bar.close()
    return len(missing)


def _order(run: Run) -> list[str]:
    return random.Random(f"ceilings/{run.settings.seed}").sample(list(run.tasks.tasks), len(run.tasks.tasks))


# So many parts are sorted by length together: more would pad less, and mix families less.
STRETCH = 8


def _side_by_side(run: Run, names: list[str]) -> Iterator[list[str]]:
    """The names in parts that are tuned together: tasks of similar length, since groups of rows are padded to the longest."""
    size = run.settings.ceilings.side_by_side
    length = lambda name: sum(len(text) + len(answer) for text, answer in run.tasks.tasks[name].rows(50, 0)[0])
    for at in range(0, len(names), STRETCH * size):
        alike = sorted(names[at : at + STRETCH * size], key=length)
        parts = [alike[start : start + size] for start in range(0, len(alike), size)]
        # What is found before the last part speaks for short and long ones.
        yield from random.Random(at).sample(parts, len(parts))


def _rows(run: Run, names: list[str]) -> Rows:
    return {name: run.tasks.ceiling_rows(name, run.settings.ceilings.judged) for name in names}


def _tuned(run: Run, rows: Rows) -> tuple[torch.Tensor, int]:
    """The LoRAs' chunks [tasks, T, rank, chunk_width], and about how many tokens of rows they were tuned on."""
    options, layout = run.settings.ceilings, run.ceiling_layout
    own = {name: one for name, (one, _) in rows.items()}
    run.chat.tokenize([row for one in own.values() for row in one])
    sources = {name: [RowSource(one, run.chat)] for name, one in own.items()}
    lower = LowerHalf(run.base, run.chat, layout.layers.start) if options.upper else None
    helpings = Helpings(sources, options.steps, 1, options.rows, options.tokens, run.settings.seed)
    with tqdm(total=options.steps, desc="tuning side by side", leave=False, mininterval=5) as bar:
        kept = tune(run.base, layout, helpings, lr=options.lr, seed=run.settings.seed, lower=lower, on_step=lambda _: bar.update())
    mean = [sum(map(run.chat.size, source.rows)) / len(source.rows) for (source,) in sources.values()]
    return kept[-1], round(sum(min(options.tokens, options.rows * size) for size in mean) * options.steps)


def _judged(run: Run, rows: Rows, lora: Lora | None, key: str) -> list[dict]:
    """Of each task's judged rows, prompted by their `key`: the share of right answers and of those not allowed."""
    judged = [one for _, one in rows.values()]
    return judge_rows(run, judged, lora, key)


def judge_rows(run: Run, judged: list[list[dict]], lora: Lora | None, key: str) -> list[dict]:
    """
    Of every group of rows, prompted by their `key`, with its LoRA: the shares `right` and, where answers can be listed, `outside`.
    Without a LoRA groups are of one, so that none waits for another.
    """
    longest = [max(len(run.chat.answer(text)) for row in rows for text in {row["response"], *(row.get("choices") or [])}) + MARGIN for rows in judged]
    size = max(map(len, judged))
    # Groups of one length; what fills them up is not counted.
    prompts = [[row[key] for row in rows] + [rows[-1][key]] * (size - len(rows)) for rows in judged]
    if lora is None:
        said = [answers(run.base, run.chat, [one], None, [limit])[0] for one, limit in zip(prompts, longest)]
    else:
        said = answers(run.base, run.chat, prompts, lora, longest)
    return [shares(rows, one) for rows, one in zip(judged, said)]


def shares(rows: list[dict], said: list[str]) -> dict:
    found = {"right": sum(is_right(text, row["response"]) for row, text in zip(rows, said)) / len(rows), "rows": len(rows)}
    if rows[0].get("choices"):
        found["outside"] = sum(is_outside(text, row["response"], row["choices"]) for row, text in zip(rows, said)) / len(rows)
    return {key: round(value, 4) for key, value in found.items()}
