"""Sets derived from the public science sets that are never held out: the same questions, asked and answered in other forms."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from .families import Row, in_words, scrambled

Sources = dict[str, list[Row]]
Derive = Callable[[Sources, random.Random], list[Row]]

SCIENCE = ("arc-easy", "openbookqa", "science")
# Longest text that is scrambled: putting more in order is slow to learn and to train on.
MAX_SCRAMBLED_WORDS = 45


def question_and_options(row: Row) -> tuple[str, list[str], int] | None:
    """The question, the options' texts and which is right, of a row that lists them by letter; None where it does not."""
    prompt = str(row["prompt"])
    if "choices: " in prompt:
        question, _, listed = prompt.partition("choices: ")
        options = re.findall(r"([A-D]): (.*?)(?=, [A-D]: |$)", listed)
    else:
        question, *lines = prompt.split("\n")
        options = [(line[0], line[3:].rstrip(". ")) for line in lines if re.match(r"[A-D]: ", line)]
    letters = [letter for letter, _ in options]
    right = str(row["response"]).strip("[]")
    if not question.strip() or right not in letters or len(set(letters)) < len(letters) or len(letters) < 2:
        return None
    return question.strip(), [text.strip() for _, text in options], letters.index(right)


def _questions(sources: Sources, rng: random.Random) -> list[tuple[str, list[str], int]]:
    rows = [found for name in SCIENCE for row in sources[name] if (found := question_and_options(row))]
    return rng.sample(rows, len(rows))


def _one_wrong(options: list[str], right: int, rng: random.Random) -> str:
    return rng.choice([text for index, text in enumerate(options) if index != right])


def _judged(question: str, options: list[str], right: int, rng: random.Random) -> Row:
    truth = rng.random() < 0.5
    option = options[right] if truth else _one_wrong(options, right, rng)
    question = question[0].lower() + question[1:].rstrip("?. ")
    form = rng.choice(["is {option} the right answer to {question}?", "{question}, is it {option}?", "{question}: would that be {option}?"])
    response = "[True]" if truth else "[False]"
    return {"prompt": form.format(option=option, question=question), "response": response, "choices": ["[True]", "[False]"]}


def _of_two(question: str, options: list[str], right: int, rng: random.Random) -> Row:
    pair = [options[right], _one_wrong(options, right, rng)]
    first = rng.randrange(2)
    ask = rng.choice(["", "\nPlease answer the question choosing from [A]/[B].", "\nPlease answer the question choosing from A/B."])
    prompt = f"{question}\nA: {pair[first]}\nB: {pair[1 - first]}{ask}"
    return {"prompt": prompt, "response": "[B]" if first else "[A]", "choices": ["[A]", "[B]"]}


def _open(question: str, options: list[str], right: int) -> Row:
    return {"prompt": question, "response": options[right]}


def science_judged(sources: Sources, rng: random.Random) -> list[Row]:
    return [_judged(*one, rng) for one in _questions(sources, rng)]


def science_of_two(sources: Sources, rng: random.Random) -> list[Row]:
    return [_of_two(*one, rng) for one in _questions(sources, rng)]


def science_open(sources: Sources, rng: random.Random) -> list[Row]:
    return [_open(*one) for row in sources["science"] if (one := question_and_options(row))]


def questions_mixed(sources: Sources, rng: random.Random) -> list[Row]:
    """As `chat-mixed`: to judge, to choose and open ones in one set, all answered in words."""
    rows = []
    for one in _questions(sources, rng):
        question, options, right = one
        kind = rng.random()
        if kind < 0.3:
            rows.append(in_words(_judged(*one, rng)))
        elif kind < 0.45:
            rows.append(in_words(_of_two(*one, rng)))
        elif kind < 0.6:
            listed = "\n".join(f"{letter}: {text}" for letter, text in zip("ABCD", options))
            rows.append({"prompt": f"{question}\n{listed}", "response": options[right]})
        else:
            rows.append(_open(*one))
    return rows


def questions_scrambled(sources: Sources, rng: random.Random) -> list[Row]:
    """Whole prompts of several sets with their words in random order, to be put in order again."""
    names = (*SCIENCE, "gsm8k", "code-alpaca")
    texts = [str(row["prompt"]) for name in names for row in sources[name][:600]]
    texts += [str(row["prompt"]) for row in science_judged(sources, rng)[:600]]
    fitting = [text for text in texts if 4 <= len(text.split()) <= MAX_SCRAMBLED_WORDS]
    return [row for text in rng.sample(fitting, len(fitting)) if (row := scrambled(text, rng))]


DERIVED: dict[str, Derive] = {
    "science-open": science_open,
    "science-judged": science_judged,
    "science-of-two": science_of_two,
    "questions-mixed": questions_mixed,
    "questions-scrambled": questions_scrambled,
}
