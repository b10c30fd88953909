"""Tasks from public rows: function vectors, instruction induction, intents to route by, spans to extract. See `sources.SOURCES` for terms."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from .sources import SOURCES
from .task import Task, filled, held

# file -> how it is asked for
FUNCTION_VECTORS: dict[str, tuple[str, ...]] = {
    **{
        f"{first}_v_{second}_{count}": filled(
            ("Which word is {x}?", "Pick the one word that is {x}.", "the {y} among the words", "Find the {y}.", "Only the word that is {x}, please."), x=told, y=first
        )
        for first, second, told in (
            ("adjective", "verb", "an adjective"), ("animal", "object", "an animal"), ("color", "animal", "a color"), ("concept", "object", "no object"),
            ("fruit", "animal", "a fruit"), ("object", "concept", "an object"), ("verb", "adjective", "a verb"),
        )
        for count in (3, 5)
    },
    **{
        f"alphabetically_{which}_{count}": filled(("Which word is {x} in the alphabet?", "Give the alphabetically {x} word.", "{x} in dictionary order", "Sort them in your mind and write the {x}.", "Only the word a dictionary has {x}."), x=which)
        for which in ("first", "last") for count in (3, 5)
    },
    **{
        f"choose_{which}_of_{count}": filled(("Write the {x} word.", "What is the {x} item?", "{x} one of the list", "Take the {x} word, drop the others.", "Only the {x} entry, please."), x=which)
        for which in ("first", "middle", "last") for count in (3, 5)
    },
    "capitalize": ("Capitalise the word.", "Start it with a capital.", "capital first letter, then the rest", "Write it as at the start of a sentence.", "Initial capital, please."),
    "capitalize_first_letter": ("Give the first letter as a capital.", "Which letter does it start with? In upper case.", "initial, upper case", "Only the capital initial.", "First letter, capitalised, nothing else."),
    "capitalize_second_letter": ("Give the second letter as a capital.", "Which letter comes second? In upper case.", "letter two, upper case", "Only the second letter, capital.", "Second letter, capitalised, nothing else."),
    "capitalize_last_letter": ("Give the last letter as a capital.", "Which letter does it end with? In upper case.", "final letter, upper case", "Only the capital of its last letter.", "Last letter, capitalised, nothing else."),
    "lowercase_first_letter": ("Give the first letter in lower case.", "Which letter does it start with? Small, please.", "initial, lower case", "Only the small initial.", "First letter, not capital."),
    "lowercase_last_letter": ("Give the last letter in lower case.", "Which letter does it end with? Small, please.", "final letter, lower case", "Only the small last letter.", "Last letter, not capital."),
    "next_capital_letter": ("Give the letter after the first one, as a capital.", "Which letter of the alphabet follows its initial? Upper case.", "initial + 1, capital", "Move the first letter one on in the alphabet; capital.", "The alphabet's next letter after its first, upper case."),
    "word_length": ("How many letters has it?", "Count the letters.", "word length", "Its number of letters, in digits.", "Answer with a number: how long is the word?"),
}  # fmt: skip
INSTRUCTION_INDUCTION = (
    "active_to_passive first_word_letter letters_list num_to_verbal second_word_letter singular_to_plural sum diff taxonomy_animal"
).split()
# Domains of CLINC150 that no training task has.
UNSEEN_DOMAINS = ("travel", "work", "kitchen_and_dining")
ROUTED = (
    "Which of these is the message about: {labels}?",
    "Sort the message into one of {labels}.",
    "Classify this request. Labels: {labels}.",
    "{labels} -- which one fits?",
    "Answer with one of {labels} and nothing else.",
    "Please route this: {labels}",
)
GROUPED = (
    "Send the message to the right desk: {labels}.",
    "Who takes this? {labels}. Answer with the desk alone.",
    "Route the request. {labels}.",
    "Desks: {labels}. Which one?",
    "{labels} -- name the desk",
)
SLOT = (
    "Extract {x}; write none if there is none.",
    "What is {x}? (none if not said)",
    "{x}, or none",
    "Copy {x} from the message. If it is not there: none.",
    "Find {x} in this message, or say none.",
)


def public_tasks(folder: Path) -> list[Task]:
    """All tasks from rows of the data folder."""
    return [
        *_function_vectors(folder / "function-vectors"),
        *_instruction_induction(folder / "instruction-induction"),
        *_clinc(folder / "clinc150"),
        *_banking(folder / "polyai" / "banking_data"),
        *_spans(folder / "polyai" / "span_extraction"),
    ]


def _mostly(text: str) -> bool:
    """As `held`, for sets that are too small for a quarter of them to judge by."""
    return hashlib.sha256(text.encode()).digest()[0] % 8 < 5


def _row_task(
    name: str, family: str, pool: str, source: str, wordings: tuple[str, ...], rows: list[tuple[str, str]], judged: Callable[[str], bool] = held
) -> Task:
    """A task of these rows, in an order that its pool's other tasks share."""
    unique = dict(rows)
    order = sorted(unique)
    random.Random(f"pool/{pool}").shuffle(order)
    pairs = [(text, unique[text], judged(text)) for text in order]
    return Task(f"{family}/{name}", family, pool, source, wordings, lambda: pairs)


def _function_vectors(folder: Path) -> Iterator[Task]:
    for name, wordings in FUNCTION_VECTORS.items():
        rows = [(str(row["input"]).strip(), str(row["output"]).strip()) for row in json.loads((folder / f"{name}.json").read_text())]
        many = name[-1] if name[-1].isdigit() else "1"
        yield _row_task(name.replace("_", "-"), "function-vectors", f"fv-words-{many}", "function-vectors", wordings, rows)


def _instruction_induction(folder: Path) -> Iterator[Task]:
    for name in INSTRUCTION_INDUCTION:
        wordings = tuple(dict.fromkeys(json.loads((folder / "instructions" / f"{name}.json").read_text())["annotations"]))
        examples = [one for part in ("induce", "execute") for one in json.loads((folder / part / f"{name}.json").read_text())["examples"].values()]
        rows = [(str(one["input"]).strip(), str(one["output"]).strip()) for one in examples]
        if name == "taxonomy_animal":
            # Their order in the answer is arbitrary there; here it is that of the list.
            rows = [(text, ", ".join(word for word in text.split(", ") if word in answer.split(", "))) for text, answer in rows]
        pool = {"first_word_letter": "ii-words", "second_word_letter": "ii-words", "letters_list": "ii-words", "sum": "ii-pairs", "diff": "ii-pairs"}
        yield _row_task(name.replace("_", "-"), "instruction-induction", pool.get(name, f"ii-{name}"), "instruction-induction", wordings, rows)


def _told(intent: str) -> str:
    return intent.replace("_", " ")


def routing_tasks(texts: dict[str, list[tuple[str, bool]]], family: str, pool: str, source: str, count: int, seed: str, size: int = 6) -> Iterator[Task]:
    """
    `count` tasks over random subsets of `size` intents (texts of each: whether to judge by it): every other one answers with the
    intent's name, one of four with a desk that takes several intents, one of four with a letter.
    """
    rng = random.Random(f"routing/{seed}")
    for number in range(count):
        intents = sorted(rng.sample(sorted(texts), size))
        style = ("name", "desk", "name", "letter")[number % 4]
        if style == "desk":
            desks = rng.sample(("alpha", "beta", "gamma", "delta", "sigma", "omega"), 3)
            mixed = rng.sample(intents, size)
            label = {intent: desks[at % 3] for at, intent in enumerate(mixed)}
            told = "; ".join(f"{desk} for {' and '.join(_told(one) for one in intents if label[one] == desk)}" for desk in desks)
            wordings = filled(GROUPED, labels=told)
        elif style == "letter":
            label = dict(zip(rng.sample(intents, size), "ABCDEFGH"))
            wordings = filled(GROUPED, labels="; ".join(f"{letter} for {_told(intent)}" for intent, letter in sorted(label.items(), key=lambda one: one[1])))
        else:
            label = {intent: _told(intent) for intent in intents}
            wordings = filled(ROUTED, labels=", ".join(label.values()))
        rows = [(text, label[intent], mark) for intent in intents for text, mark in texts[intent]]
        random.Random(f"pool/{pool}").shuffle(rows)
        rows = list({text: (text, answer, mark) for text, answer, mark in rows}.values())
        choices = tuple(dict.fromkeys(label.values()))
        yield Task(f"{family}/{pool}-{number + 1:02d}-{style}", family, pool, source, wordings, lambda rows=rows: rows, choices)


def _clinc(folder: Path) -> Iterator[Task]:
    domains = json.loads((folder / "domains.json").read_text())
    data = json.loads((folder / "data_full.json").read_text())
    texts: dict[str, list[tuple[str, bool]]] = {}
    trained = {text for text, _ in data["train"]}
    for part in ("train", "val", "test"):
        for text, intent in data[part]:
            if part == "train" or text not in trained:
                texts.setdefault(intent, []).append((text.strip(), part != "train"))
    for domain, intents in domains.items():
        unseen = domain in UNSEEN_DOMAINS
        count = 4 if unseen else 10
        yield from routing_tasks({one: texts[one] for one in intents}, "route", domain.replace("_", "-"), "clinc150", count, f"clinc/{domain}")


def _banking(folder: Path) -> Iterator[Task]:
    texts: dict[str, list[tuple[str, bool]]] = {}
    seen: set[str] = set()
    for part in ("train", "test"):
        with open(folder / f"{part}.csv", newline="") as file:
            for row in csv.DictReader(file):
                text = " ".join(row["text"].split())
                if text not in seen:
                    seen.add(text)
                    texts.setdefault(row["category"], []).append((text, part == "test"))
    yield from routing_tasks(texts, "banking", "banking77", "banking77", 8, "banking77")


SLOTS = {
    "restaurant8k": {
        "people": "the number of people, as written",
        "time": "the time",
        "date": "the date or day",
        "first_name": "the first name",
        "last_name": "the last name",
    },
    # Slots of dstc8 with enough spans for 200 rows to judge by.
    "dstc8/Buses_1": {"from_location": "where the bus leaves from", "to_location": "where the bus goes to", "leaving_date": "the date of travel"},
    "dstc8/Events_1": {"city_of_event": "the city of the event"},
    "dstc8/Homes_1": {"area": "the area to live in", "visit_date": "the date of the visit"},
}


def _spans(folder: Path) -> Iterator[Task]:
    for place, slots in SLOTS.items():
        source = place.partition("/")[0]
        said: dict[str, dict[str, str]] = {}
        for part in ("train_0", "test"):
            for row in json.loads((folder / place / f"{part}.json").read_text()):
                text = row["userInput"]["text"]
                # A span without a start begins with the text.
                found = {
                    one["slot"]: text[one["valueSpan"].get("startIndex", 0) : one["valueSpan"]["endIndex"]].strip(" .,!?") for one in row.get("labels", [])
                }
                said.setdefault(" ".join(text.split()), found)
        for slot, told in slots.items():
            with_slot = [(text, " ".join(found[slot].split())) for text, found in said.items() if found.get(slot)]
            without = [(text, "none") for text, found in said.items() if not found.get(slot)]
            random.Random(f"{place}/{slot}").shuffle(without)
            # One of three has none to extract; of the small set that is never trained on, one of two.
            trained = SOURCES[source].trained
            rows = with_slot + without[: len(with_slot) // (2 if trained else 1)]
            name = f"{place.replace('/', '-').replace('_1', '')}-{slot.replace('_', '-')}".lower()
            yield _row_task(name, source, place, source, filled(SLOT, x=told), rows, judged=held if trained else _mostly)
