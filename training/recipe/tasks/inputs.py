"""Pools: the kinds of input that programmatic tasks share, so that an input alone does not tell its task."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

from .task import Pool
from .words import ADJECTIVES, ALL_WORDS, CITIES, FIRST_NAMES, FOURS, KINDS, LAST_NAMES, MONTHS, NOUNS, VERBS


def _words(count: int) -> Pool:
    def draw(rng: random.Random) -> tuple[str, ...]:
        while True:
            words = rng.sample(ALL_WORDS, count)
            # One longest and one shortest word, so that every question about the list has one answer.
            lengths = sorted(map(len, words))
            if lengths[0] < lengths[1] and lengths[-2] < lengths[-1]:
                return tuple(words)

    return Pool(f"words-{count}", draw, ", ".join)


WORDS = {count: _words(count) for count in (3, 4, 5)}


def _four(kinds: tuple[str, ...]) -> Pool:
    def draw(rng: random.Random) -> tuple[str, ...]:
        words = [rng.choice(KINDS[kind]) for kind in kinds]
        rng.shuffle(words)
        return tuple(words)

    return Pool("one-each-of-" + "-".join(kinds).replace(" ", ""), draw, ", ".join)


ONE_EACH = {kinds: _four(kinds) for kinds in FOURS}
SOME_WORDS = Pool("two-to-seven-words", lambda rng: tuple(rng.sample(ALL_WORDS, rng.randint(2, 7))), ", ".join)
ANIMALS_AND_THINGS = ("animal", "bird", "tool", "furniture")


def _animals_and_things(rng: random.Random) -> tuple[str, ...]:
    living = rng.sample(KINDS["animal"] + KINDS["bird"], rng.randint(1, 3))
    words = living + rng.sample(KINDS["tool"] + KINDS["furniture"], rng.randint(1, 3))
    return tuple(rng.sample(words, len(words)))


ANIMALS = Pool("animals-and-things", _animals_and_things, ", ".join)
WORD = Pool("word", lambda rng: rng.choice(ALL_WORDS))
PHRASE = Pool("adjective-and-noun", lambda rng: (rng.choice(ADJECTIVES), rng.choice(NOUNS)), " ".join)
SUBJECTS = ("she", "he", "Anna", "Omar", "the nurse", "the farmer", "my sister", "the child", "the pilot", "my uncle")
# In the present: "she walks".
CLAUSE = Pool("subject-and-verb", lambda rng: (rng.choice(SUBJECTS), rng.choice(VERBS)), lambda value: f"{value[0]} / {value[1]}")

NUMBER = Pool("number", lambda rng: rng.randint(1, 9999) if rng.random() < 0.6 else rng.randint(1, 999))
SMALL_NUMBER = Pool("number-below-1000", lambda rng: rng.randint(1, 999))
TWO_NUMBERS = Pool("two-numbers", lambda rng: tuple(rng.sample(range(1, 100), 2)), lambda value: f"{value[0]} {value[1]}")
FOUR_NUMBERS = Pool("four-numbers", lambda rng: tuple(rng.sample(range(1, 100), 4)), lambda value: ", ".join(map(str, value)))


def _day(rng: random.Random) -> date:
    return date(1980, 1, 1) + timedelta(days=rng.randrange(18000))


ISO_DATE = Pool("iso-date", _day, date.isoformat)
WRITTEN_DATE = Pool("written-date", _day, lambda day: f"{day.day} {MONTHS[day.month - 1]} {day.year}")
TIME = Pool("time-of-day", lambda rng: (rng.randrange(24), rng.randrange(60)), lambda value: f"{value[0]:02d}:{value[1]:02d}")

# Symbol -> (singular, how many of the smaller unit, the smaller unit's symbol)
UNITS = {
    "km": ("kilometre", 1000, "m"),
    "m": ("metre", 100, "cm"),
    "kg": ("kilogram", 1000, "g"),
    "l": ("litre", 1000, "ml"),
    "h": ("hour", 60, "min"),
    "cm": ("centimetre", 10, "mm"),
}
QUANTITY = Pool(
    "quantity", lambda rng: (rng.randint(2, 999), rng.choice(sorted(UNITS))), lambda value: f"{value[0]} {value[1]}"
)
PRICE = Pool("price", lambda rng: (rng.randint(1, 400), rng.randrange(100)), lambda value: f"${value[0]}.{value[1]:02d}")


@dataclass(frozen=True)
class Person:
    first: str
    last: str
    age: int
    city: str
    job: str


def _person(rng: random.Random) -> Person:
    age = rng.randint(8, 79)
    return Person(rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES), age, rng.choice(CITIES), rng.choice(KINDS["job"]))


PERSON = Pool("person", _person, lambda one: f"{one.first} {one.last}, {one.age}, {one.job}, {one.city}")


@dataclass(frozen=True)
class Sale:
    day: str
    seller: str
    buyer: str
    count: int
    thing: str
    city: str
    price: int


SALE_FORMS = (
    "On {day} {seller} sold {count} {thing}s to {buyer} in {city} for {price} euros.",
    "{seller} sold {buyer} {count} {thing}s for {price} euros on {day} in {city}.",
    "In {city}, {buyer} bought {count} {thing}s from {seller} on {day} and paid {price} euros.",
)


def _sale(rng: random.Random) -> tuple[Sale, str]:
    seller, buyer = rng.sample(FIRST_NAMES, 2)
    thing = rng.choice("lamp chair table carpet mirror basket pillow blanket lantern bucket camera drum".split())
    numbers = rng.sample(range(2, 99), 2)
    sale = Sale(rng.choice(KINDS["weekday"]), seller, buyer, numbers[0], thing, rng.choice(CITIES), numbers[1])
    return sale, rng.choice(SALE_FORMS)


SALE = Pool("sale", _sale, lambda value: value[1].format(**vars(value[0])))


@dataclass(frozen=True)
class LogLine:
    day: str
    time: str
    level: str
    part: str
    message: str
    code: int


MESSAGES = ("quota exceeded", "connection lost", "file not found", "started", "retry later", "access denied", "cache cleared", "out of memory")


def _log_line(rng: random.Random) -> LogLine:
    clock = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}"
    level, part = rng.choice(("ERROR", "WARN", "INFO", "DEBUG")), rng.choice("disk network mail queue login cache printer backup".split())
    return LogLine(_day(rng).isoformat(), clock, level, part, rng.choice(MESSAGES), rng.randint(100, 599))


LOG = Pool("log-line", _log_line, lambda one: f"{one.day} {one.time} {one.level} {one.part}: {one.message} ({one.code})")


@dataclass(frozen=True)
class Order:
    number: str
    count: int
    thing: str
    city: str
    status: str


def _order(rng: random.Random) -> Order:
    number = f"{rng.choice('ABCDEFGH')}-{rng.randint(1000, 9999)}"
    return Order(number, rng.randint(2, 60), rng.choice(NOUNS), rng.choice(CITIES), rng.choice(("paid", "open", "shipped", "returned")))


ORDER = Pool("order", _order, lambda one: f"order {one.number}: {one.count} x {one.thing}, to {one.city}, {one.status}")


@dataclass(frozen=True)
class Page:
    host: str
    top: str
    folder: str
    name: str
    kind: str


def _page(rng: random.Random) -> Page:
    return Page(
        rng.choice(NOUNS), rng.choice(("org", "net", "com", "info")), rng.choice(NOUNS), rng.choice(ADJECTIVES), rng.choice(("html", "pdf", "png", "txt"))
    )


PAGE = Pool("web-address", _page, lambda one: f"https://www.{one.host}.{one.top}/{one.folder}/{one.name}.{one.kind}")

GOOD = "great excellent wonderful lovely perfect superb".split()
BAD = "awful terrible poor dreadful disappointing horrible".split()
ASPECTS = "food service music room price view staff coffee".split()


def _review(rng: random.Random) -> tuple[str, str, str, str]:
    """(good aspect, its word, bad aspect, its word), and which comes first by the text."""
    one, two = rng.sample(ASPECTS, 2)
    return one, rng.choice(GOOD), two, rng.choice(BAD)


def _review_text(value: tuple[str, str, str, str]) -> str:
    good, praise, bad, blame = value
    first, second = (good, praise), (bad, blame)
    # Which half comes first follows from the words, so that the text is a function of the value.
    if (len(good) + len(praise) + len(bad) + len(blame)) % 2:
        first, second = second, first
    return f"The {first[0]} was {first[1]}, but the {second[0]} was {second[1]}."


REVIEW = Pool("review", _review, _review_text)
