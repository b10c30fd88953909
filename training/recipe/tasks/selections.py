"""Selections: what of an input is meant, as noun phrases of several people ("the last word"). Alone they are tasks; with an
operation behind them, compositions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .inputs import FOUR_NUMBERS, ISO_DATE, LOG, ONE_EACH, ORDER, PAGE, PERSON, SALE, TIME, WORDS, WRITTEN_DATE
from .task import Pool, Task, filled, rule_task
from .words import KINDS, MONTHS

# What a plain selection is asked for with.
PLAIN = (
    "Give {x}.", "What is {x}?", "{x}", "Write {x} and nothing else.", "Return only {x}.", "Please find {x}.", "Extract {x} from this.", "I just need {x}.",
)  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """`wordy`: what is selected is a word, so that letters and case can be asked of it."""

    pool: Pool
    family: str
    name: str
    select: Callable[[Any], str]
    phrases: tuple[str, ...]
    wordy: bool = True

    @property
    def label(self) -> str:
        return f"{self.name}-in-{self.pool.name}"

    def task(self) -> Task:
        wordings = tuple(PLAIN[i % len(PLAIN)].format(x=self.phrases[i % len(self.phrases)]) for i in range(len(PLAIN)))
        return rule_task(self.pool, self.family, self.label, self.select, wordings)


PLACES = (
    ("first", 0, ("the first word", "the word at the start", "the item that comes first", "the opening word of the list")),
    ("second", 1, ("the second word", "word number two", "the item in second place", "the 2nd word of the list")),
    ("third", 2, ("the third word", "word number three", "the item in third place", "the 3rd word of the list")),
    ("fourth", 3, ("the fourth word", "word number four", "the item in fourth place", "the 4th word of the list")),
    ("last", -1, ("the last word", "the word at the end", "the item that comes last", "the final word of the list")),
    ("last-but-one", -2, ("the last word but one", "the second to last word", "the item before the final one", "the penultimate word")),
)
# Which places have a name of their own in lists of so many.
PLACES_OF = {3: ("first", "second", "last"), 4: ("first", "second", "third", "last"), 5: ("first", "second", "third", "fourth", "last", "last-but-one")}
SUPERLATIVES = (
    ("longest", lambda words: max(words, key=len), ("the longest word", "the word with the most letters", "the item that takes the most letters")),
    ("shortest", lambda words: min(words, key=len), ("the shortest word", "the word with the fewest letters", "the item that takes the fewest letters")),
    ("alphabetically-first", min, ("the word that is first in the alphabet", "the alphabetically first word", "the word a dictionary has first")),
    ("alphabetically-last", max, ("the word that is last in the alphabet", "the alphabetically last word", "the word a dictionary has last")),
)


def _of_lists() -> list[Selection]:
    made = []
    for count, pool in WORDS.items():
        for name, place, phrases in PLACES:
            if name in PLACES_OF[count]:
                made.append(Selection(pool, "pick", name, lambda words, place=place: words[place], phrases))
        for name, choose, phrases in SUPERLATIVES:
            made.append(Selection(pool, "pick", name, choose, phrases))
    for name, place, phrases in PLACES[:3] + PLACES[4:5]:
        told = tuple(phrase.replace("word", "number") for phrase in phrases)
        made.append(Selection(FOUR_NUMBERS, "pick", name, lambda value, place=place: str(value[place]), told, wordy=False))
    made.append(
        Selection(FOUR_NUMBERS, "pick", "largest", lambda value: str(max(value)), ("the largest number", "the maximum", "the greatest of the numbers"), False)
    )
    made.append(
        Selection(FOUR_NUMBERS, "pick", "smallest", lambda value: str(min(value)), ("the smallest number", "the minimum", "the least of the numbers"), False)
    )
    return made


def _of_kinds() -> list[Selection]:
    made = []
    for kinds, pool in ONE_EACH.items():
        for kind in kinds:
            article = "an" if kind[0] in "aeiou" else "a"
            phrases = (f"the {kind}", f"the word that names {article} {kind}", f"the one word that is {article} {kind}", f"the {kind} in the list")
            select = lambda words, kind=kind: next(word for word in words if word in KINDS[kind])
            made.append(Selection(pool, "kind", kind.replace(" ", "-"), select, phrases))
    return made


def _fields(pool: Pool, family: str, fields: dict[str, tuple[Callable[[Any], str], tuple[str, ...], bool]]) -> list[Selection]:
    return [Selection(pool, family, name, select, phrases, wordy) for name, (select, phrases, wordy) in fields.items()]


FIELDS = [
    *_fields(
        PERSON,
        "person",
        {
            "first-name": (lambda one: one.first, ("the first name", "the given name", "the person's first name"), True),
            "last-name": (lambda one: one.last, ("the last name", "the surname", "the family name"), True),
            "age": (lambda one: str(one.age), ("the age", "the person's age", "the age in years"), False),
            "city": (lambda one: one.city, ("the city", "the town the person lives in", "the place"), True),
            "job": (lambda one: one.job, ("the job", "the occupation", "the person's profession"), True),
        },
    ),
    *_fields(
        SALE,
        "sale",
        {
            "seller": (lambda value: value[0].seller, ("the seller", "the name of the person who sold something", "the one selling"), True),
            "buyer": (lambda value: value[0].buyer, ("the buyer", "the name of the person who bought something", "the customer"), True),
            "thing": (lambda value: value[0].thing + "s", ("the goods", "the name of what was sold", "the things that changed hands"), True),
            "count": (lambda value: str(value[0].count), ("the number of things sold", "the quantity", "the count of pieces"), False),
            "city": (lambda value: value[0].city, ("the city", "the place of the sale", "the town where it happened"), True),
            "day": (lambda value: value[0].day, ("the weekday", "the day of the sale", "the day when it happened"), True),
            "price": (lambda value: str(value[0].price), ("the price in euros", "the amount paid", "the sum, without the currency"), False),
        },
    ),
    *_fields(
        LOG,
        "log",
        {
            "day": (lambda one: one.day, ("the date", "the day of the entry", "the date of this log line"), False),
            "time": (lambda one: one.time, ("the time", "the clock time", "the hour and minute of the entry"), False),
            "level": (lambda one: one.level, ("the level", "the severity", "the log level"), True),
            "part": (lambda one: one.part, ("the component", "the module", "the part of the system"), True),
            "message": (lambda one: one.message, ("the message", "the text of the entry", "what the log line says happened"), False),
            "code": (lambda one: str(one.code), ("the code", "the number in parentheses", "the status code"), False),
        },
    ),
    *_fields(
        ORDER,
        "order",
        {
            "number": (lambda one: one.number, ("the order number", "the order's id", "the reference of the order"), False),
            "count": (lambda one: str(one.count), ("the quantity", "the number of pieces", "the count of items ordered"), False),
            "thing": (lambda one: one.thing, ("the article", "the item ordered", "the product"), True),
            "city": (lambda one: one.city, ("the destination", "the city it goes to", "the town of delivery"), True),
            "status": (lambda one: one.status, ("the status", "the state of the order", "the order's status"), True),
        },
    ),
    *_fields(
        PAGE,
        "address",
        {
            "host": (lambda one: one.host, ("the site's name", "the name between www. and the ending", "the domain name without its ending"), True),
            "top": (lambda one: one.top, ("the top-level domain", "the ending of the domain", "the domain's suffix, without a dot"), True),
            "folder": (lambda one: one.folder, ("the folder", "the first part of the path", "the directory"), True),
            "file": (lambda one: f"{one.name}.{one.kind}", ("the file name", "the last part of the path", "the name of the file, ending included"), False),
            "stem": (lambda one: one.name, ("the file name without its ending", "the stem of the file", "the name of the file, ending left out"), True),
            "kind": (lambda one: one.kind, ("the file ending", "the type of the file", "the extension, without a dot"), True),
            "domain": (lambda one: f"{one.host}.{one.top}", ("the domain", "the domain without www.", "the site's domain, such as a.org"), False),
        },
    ),
    *[
        selection
        for pool in (ISO_DATE, WRITTEN_DATE)
        for selection in _fields(
            pool,
            "date",
            {
                "year": (lambda day: str(day.year), ("the year", "the year of the date", "the four digits of the year"), False),
                "month": (lambda day: MONTHS[day.month - 1], ("the name of the month", "the month in words", "the month's English name"), True),
                "month-number": (lambda day: str(day.month), ("the month as a number", "the number of the month", "the month in digits, no leading zero"), False),
                "day": (lambda day: str(day.day), ("the day of the month", "the day as a number", "the day, no leading zero"), False),
                "short-month": (
                    lambda day: MONTHS[day.month - 1][:3],
                    ("the month in three letters", "the month's three-letter abbreviation", "the month, abbreviated like Jan"),
                    True,
                ),
            },
        )
    ],
    *_fields(
        TIME,
        "time",
        {
            "hour": (lambda value: str(value[0]), ("the hour", "the hour of this time", "the hour, no leading zero"), False),
            "minute": (lambda value: str(value[1]), ("the minutes", "the minutes past the hour", "the minutes, no leading zero"), False),
        },
    ),
]
SELECTIONS: list[Selection] = [*_of_lists(), *_of_kinds(), *FIELDS]


def composed_wordings(phrases: tuple[str, ...], templates: tuple[str, ...]) -> tuple[str, ...]:
    """Every template once or more, with the phrases in turn."""
    count = max(len(phrases), len(templates))
    return tuple(filled((templates[i % len(templates)],), x=phrases[i % len(phrases)])[0] for i in range(count))
