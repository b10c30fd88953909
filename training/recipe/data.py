"""Data sets: rows {prompt, response, choices?, system?}, their splits, and batches of them for the base model."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .base_model import Batch
from .families import FAMILIES, make_family

# Longest prompt and answer in tokens of the base; the few longer rows are left out, not cut.
MAX_PROMPT_TOKENS = 256
MAX_ANSWER_TOKENS = 128


@dataclass
class DataSet:
    """Rows to train on, rows to judge by (empty where the set is never held out)."""

    name: str
    train: list[dict]
    test: list[dict] = field(default_factory=list)


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
# Sets that ask and answer in one form. Locality is asked of adapters between forms, not within one.
FORMS = {
    "four choices": ["arc-challenge", "arc-easy", "openbookqa", "science", "capitals-of-four"],
    "few choices": ["winogrande", "amounts-of-two", "reasons-of-two", "odd-one-of-three"],
    "true or false": ["boolq", "numbers-judged", "spelling-judged", "places-judged", "kinds-judged", "calendar-judged"],
    "mathematics": ["gsm8k", "math", "arithmetic"],
    "code": ["code-alpaca"],
    "words": ["science-open", "words-rewritten", "tone-of-words"],
}
FORM_OF = {name: form for form, names in FORMS.items() for name in names}
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
    """All data sets by name: the public ones of `directory` (left out without one), a derived one, the synthetic ones."""
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
        sets["science-open"] = DataSet("science-open", [row for row in map(_open, sets["science"].train) if row])
    for name in FAMILIES:
        rows = make_family(name, 1500, seed)
        cut = len(rows) // 8
        sets[name] = DataSet(name, rows[cut:], rows[:cut])
    for name, one in sets.items():
        rng = random.Random(f"{name}/order/{seed}")
        seen = {row["prompt"] for row in one.test}
        one.train = [row for row in one.train if row["prompt"] not in seen]
        rng.shuffle(one.train)
        rng.shuffle(one.test)
        one.train = one.train[:max_rows]
    return {name: one for name, one in sets.items() if not only or name in only}


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


def _open(row: dict) -> dict | None:
    """A science question without its options, answered in words."""
    question, _, listed = row["prompt"].partition("choices: ")
    options = dict(re.findall(r"([A-D]): (.*?)(?=, [A-D]: |$)", listed))
    answer = options.get(row["response"].strip("[]"))
    return {"prompt": question.strip(), "response": answer} if answer and question.strip() else None


class Encoder:
    """Renders rows with the base's chat template and makes batches that share the template's beginning."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        # Where two different prompts begin to differ is where the shared beginning ends.
        one, other = self._text([("user", "Q")]), self._text([("user", "7")])
        shared = next(i for i, (a, b) in enumerate(zip(one, other)) if a != b)
        self.prefix = self.tokens(one[:shared])
        self.head, self.tail = one[:shared], one[shared + 1 :]
        self._cache: dict[tuple[str, str | None], list[int]] = {}

    def _text(self, turns) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def prompt(self, row: dict) -> list[int]:
        """Tokens after the shared beginning, up to where the answer starts."""
        key = (row["prompt"], None)
        if key not in self._cache:
            self._cache[key] = self.tokens(row["prompt"] + self.tail)
        return self._cache[key]

    def instructed(self, row: dict) -> list[int]:
        """All tokens of the prompt with the row's own system message in place of the template's."""
        return self.tokens(self._text([("system", row["system"]), ("user", row["prompt"])]))

    def answer(self, text: str) -> list[int]:
        return [*self.tokens(text), self.end]

    def fits(self, row: dict) -> bool:
        return len(self.prompt(row)) <= MAX_PROMPT_TOKENS and len(self.answer(row["response"])) <= MAX_ANSWER_TOKENS

    def batch(self, rows: list[dict], candidates: list[list[str]] | None = None, instructed: bool = False) -> Batch:
        """
        A batch that scores each row's response, or all of its candidates side by side; `owner` counts the answers in order.
        """
        prefix = [] if instructed else self.prefix
        ids, branches, positions = list(prefix), [0] * len(prefix), list(range(len(prefix)))
        lengths, targets, labels, owner, answers = [], [], [], [], 0
        for index, row in enumerate(rows):
            prompt = self.instructed(row) if instructed else self.prompt(row)
            start = len(ids)
            ids += prompt
            branches += [0] * len(prompt)
            positions += range(len(prefix), len(prefix) + len(prompt))
            last = len(ids) - 1
            for branch, text in enumerate(candidates[index] if candidates else [row["response"]]):
                tokens = self.answer(text)
                at = len(ids)
                targets += [last, *range(at, at + len(tokens) - 1)]
                labels += tokens
                owner += [answers] * len(tokens)
                answers += 1
                # The last token predicts nothing that is scored.
                ids += tokens[:-1]
                branches += [branch + 1] * (len(tokens) - 1)
                first = len(prefix) + len(prompt)
                positions += range(first, first + len(tokens) - 1)
            lengths.append(len(ids) - start)
        tensor = torch.tensor
        return Batch(
            tensor(ids),
            len(prefix),
            lengths,
            tensor(targets),
            tensor(labels),
            tensor(owner),
            tensor(positions),
            tensor(branches) if candidates else None,
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
