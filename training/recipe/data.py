"""Data sets: rows {prompt, response, choices?, system?}, their splits, and batches of them for the base model."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .base_model import SHORT_ROW, Batch, Span
from .derived import DERIVED
from .families import FAMILIES, make_family

# Longest prompt and answer in tokens of the base; the few longer rows are left out, not cut.
MAX_PROMPT_TOKENS = 256
MAX_ANSWER_TOKENS = 128


@dataclass
class DataSet:
    """
    Rows to train on, rows to judge by (empty where the set is never held out). `texts`: what conditions are drawn from, where it is
    not the prompts of the rows to train on.
    """

    name: str
    train: list[dict]
    test: list[dict] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


# name -> (file to train on, file to judge by or None, rows to take to judge by when there is no such file)
PUBLIC = {
    "arc-challenge": ("ARC-c_train.json", "ARC-c_test.json", 0),
    "arc-easy": ("ARC-e_train.json", "ARC-e_test.json", 0),
    "openbookqa": ("OBQA_train.json", "OBQA_test.json", 0),
    "science": ("science-dataset.json", None, 500),
    "boolq": ("BoolQ_train.json", "BoolQ_validation.json", 0),
    "winogrande": ("WinoGrande_validation.json", None, 600),
    "gsm8k": ("GSM8K.json", None, 300),
    "math": ("MATH.json", None, 500),
    "arithmetic": ("Math-IIO-68K-Mini.json", None, 500),
    "code-alpaca": ("CodeAlpaca-20K.json", None, 500),
}
# Sets that are answered in one form. Locality is asked of adapters between forms, not within one.
FORMS = {
    "choices": (
        "arc-challenge arc-easy openbookqa science winogrande science-of-two capitals-of-four sums-of-four amounts-of-two "
        "reasons-of-two odd-one-of-three"
    ),
    "true or false": (
        "boolq science-judged numbers-judged spelling-judged places-judged kinds-judged calendar-judged statements-judged"
    ),
    "mathematics": "gsm8k math arithmetic",
    "code": "code-alpaca",
    "words": "science-open words-rewritten tone-of-words facts-in-words",
    "mixed": "questions-mixed chat-mixed",
    "scrambled": "questions-scrambled words-scrambled",
}
FORM_OF = {name: form for form, names in FORMS.items() for name in names.split()}
# A row of a mixed set could be one of these sets: which answer it wants is shown by the other prompts of its set.
LIKE_MIXED = ("choices", "true or false", "words")
# The form of the tasks of `recipe.tasks`, each of which answers in its own way; rows in words could be rows of theirs.
TASKS = "tasks"
LIKE_TASKS = (TASKS, "words", "mixed")


def form_of(name: str) -> str:
    return FORM_OF.get(name, TASKS)


def same_form(name: str, other: str) -> bool:
    """Whether two sets are answered in one form."""
    return form_of(name) == form_of(other)


def apart(name: str, other: str) -> bool:
    """Whether rows of two sets show by themselves that they are of different forms."""
    one, two = form_of(name), form_of(other)
    if TASKS in (one, two):
        return one not in LIKE_TASKS or two not in LIKE_TASKS
    return one != two and not ("mixed" in (one, two) and (one in LIKE_MIXED or two in LIKE_MIXED))


OPTION = re.compile(r"(?:^|\n|choices: |, )([A-E1-5]): ")


def choices_of(row: dict) -> list[str] | None:
    """The answers a row allows: true or false, or the letters of the options that its prompt lists."""
    response = row["response"]
    if response in ("[True]", "[False]"):
        return ["[True]", "[False]"]
    if re.fullmatch(r"\[[A-E1-5]\]", response):
        letters = list(dict.fromkeys(OPTION.findall(row["prompt"])))
        choices = [f"[{letter}]" for letter in letters]
        return choices if response in choices else None
    return None


def load_sets(directory: Path | None, max_rows: int, seed: int = 0, only: list[str] | None = None) -> dict[str, DataSet]:
    """All data sets by name: the public ones of `directory` and those derived from them (left out without one), the synthetic ones."""
    sets: dict[str, DataSet] = {}
    if directory:
        for name, (train_file, test_file, held) in PUBLIC.items():
            rows = _read(directory / train_file)
            if test_file:
                sets[name] = DataSet(name, rows, _read(directory / test_file))
            else:
                # Neighbouring rows can be twins (WinoGrande's are), so pairs stay on one side.
                pairs = [rows[i : i + 2] for i in range(0, len(rows), 2)]
                random.Random(f"{name}/{seed}").shuffle(pairs)
                cut = held // 2
                flat = lambda part: [row for pair in part for row in pair]
                sets[name] = DataSet(name, flat(pairs[cut:]), flat(pairs[:cut]))
        for one in sets.values():
            seen = {row["prompt"] for row in one.test}
            one.train = [row for row in one.train if row["prompt"] not in seen]
        sources = {name: one.train for name, one in sets.items()}
        for name, derive in DERIVED.items():
            sets[name] = DataSet(name, derive(sources, random.Random(f"{name}/{seed}")))
    for name in FAMILIES:
        rows = make_family(name, 1500, seed)
        cut = len(rows) // 8
        sets[name] = DataSet(name, rows[cut:], rows[:cut])
    for name, one in sets.items():
        rng = random.Random(f"{name}/order/{seed}")
        rng.shuffle(one.train)
        rng.shuffle(one.test)
        one.train = one.train[:max_rows]
    return {name: one for name, one in sets.items() if only is None or name in only}


def _read(path: Path) -> list[dict]:
    rows = []
    for row in json.loads(path.read_text()):
        kept = {"prompt": row["prompt"].strip(), "response": row["response"].strip()}
        if row.get("system"):
            kept["system"] = row["system"]
        if choices := choices_of(kept):
            kept["choices"] = choices
        elif kept["response"].startswith("[") and len(kept["response"]) < 9:
            continue  # A letter or number that no option of the prompt has.
        if kept["prompt"] and kept["response"]:
            rows.append(kept)
    return list({row["prompt"]: row for row in rows}.values())


class Encoder:
    """Renders rows with the base's chat template and makes batches that share the template's beginning."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self._cache: dict[str, list[int]] = {}
        self.end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        # Where two different prompts begin to differ is where the shared beginning ends.
        one, other = self._text([("user", "Q")]), self._text([("user", "7")])
        shared = next(i for i, (a, b) in enumerate(zip(one, other)) if a != b)
        self.prefix = self.tokens(one[:shared])
        self.tail = one[shared + 1 :]

    def _text(self, turns) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def tokens(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self._cache[text]

    def tokenize(self, rows: list[dict]) -> None:
        """All rows at once, so that later calls look them up."""
        texts = {text for row in rows for text in (row["prompt"] + self.tail, row["response"])}
        texts = sorted(texts - self._cache.keys())
        if texts:
            self._cache.update(zip(texts, self.tokenizer(texts, add_special_tokens=False)["input_ids"]))

    def prompt(self, row: dict) -> list[int]:
        """Tokens after the shared beginning, up to where the answer starts."""
        return self.tokens(row["prompt"] + self.tail)

    def instructed(self, row: dict) -> list[int]:
        """All tokens of the prompt with the row's own system message in place of the template's."""
        return self.tokens(self._text([("system", row["system"]), ("user", row["prompt"])]))

    def answer(self, text: str) -> list[int]:
        return [*self.tokens(text), self.end]

    def fits(self, row: dict) -> bool:
        return len(self.prompt(row)) <= MAX_PROMPT_TOKENS and len(self.answer(row["response"])) <= MAX_ANSWER_TOKENS

    def size(self, row: dict) -> int:
        """Tokens of a row behind the shared beginning."""
        return len(self.prompt(row)) + len(self.answer(row["response"])) - 1

    def batch(
        self, groups: list[list[dict]], candidates: list[list[str]] | None = None, instructed: bool = False
    ) -> Batch:
        """
        A batch that scores each row's response, or all of a row's candidates side by side (rows counted over all groups);
        `owner` counts the answers in order.
        """
        prefix = [] if instructed else self.prefix
        targets, labels, owner, group_of_answer = [], [], [], []
        made, answers, index = [], 0, 0
        for group, rows in enumerate(groups):
            ids, branches, positions = list(prefix), [0] * len(prefix), list(range(len(prefix)))
            spans, scored = [(0, len(prefix), True)] if prefix else [], []
            for row in rows:
                prompt = self.instructed(row) if instructed else self.prompt(row)
                start = len(ids)
                ids += prompt
                branches += [0] * len(prompt)
                positions += range(len(prefix), len(prefix) + len(prompt))
                last = len(ids) - 1
                for branch, text in enumerate(candidates[index] if candidates else [row["response"]]):
                    tokens = self.answer(text)
                    at = len(ids)
                    scored += [last, *range(at, at + len(tokens) - 1)]
                    labels += tokens
                    owner += [answers] * len(tokens)
                    group_of_answer.append(group)
                    answers += 1
                    # The last token predicts nothing that is scored.
                    ids += tokens[:-1]
                    branches += [branch + 1] * (len(tokens) - 1)
                    first = len(prefix) + len(prompt)
                    positions += range(first, first + len(tokens) - 1)
                spans.append((start, len(ids) - start, False))
                index += 1
            made.append((ids, positions, branches, spans, scored))

        length = max(len(ids) for ids, *_ in made)
        short, wide = [], []  # (flat start, tokens, group, prefix?)
        for group, (_, _, _, spans, scored) in enumerate(made):
            targets += [group * length + at for at in scored]
            for start, size, first in spans:
                (short if size <= SHORT_ROW else wide).append((group * length + start, size, group, first))
        cell, spans, cells = np.full(len(groups) * length, -1), [], 0
        for rows in (short, wide):
            if not rows:
                continue
            # Keys in eights, as fused attention likes them.
            width = max(size for _, size, _, _ in rows)
            width += -(len(prefix) + width) % 8
            for number, (start, size, _, _) in enumerate(rows):
                cell[start : start + size] = np.arange(size) + (cells + number * width)
            spans.append(Span(width, torch.tensor([row[2] for row in rows]), torch.tensor([row[3] for row in rows])))
            cells += len(rows) * width
        cell[cell < 0] = cells
        token, filled = np.zeros(cells + 1, int), np.zeros(cells + 1, bool)
        token[cell], filled[cell] = np.arange(len(cell)), True
        filled[cells] = False
        padded = lambda part: torch.tensor([value for one in made for value in one[part] + [0] * (length - len(one[part]))])
        return Batch(
            padded(0),
            padded(1),
            len(groups),
            len(prefix),
            torch.from_numpy(cell),
            torch.from_numpy(token),
            torch.from_numpy(filled),
            spans,
            torch.tensor(targets),
            torch.tensor(labels),
            torch.tensor(owner),
            torch.tensor(group_of_answer),
            padded(2) if candidates else None,
        )


def by_length(rows: list[dict], encoder: Encoder, max_tokens: int) -> list[list[dict]]:
    """Rows of similar length together, at most `max_tokens` tokens a group, so that padding stays small."""
    groups: list[list[dict]] = [[]]
    for row in sorted(rows, key=lambda row: len(encoder.prompt(row))):
        size = len(encoder.prompt(row)) + 16
        if groups[-1] and (len(groups[-1]) + 1) * size > max_tokens:
            groups.append([])
        groups[-1].append(row)
    return groups
