"""Classification by a rule: an input gets one of a few labels, and which labels they are is a matter of the task alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .inputs import (
    ANIMALS,
    FOUR_NUMBERS,
    ISO_DATE,
    LOG,
    NUMBER,
    ORDER,
    PAGE,
    PERSON,
    PHRASE,
    PRICE,
    QUANTITY,
    REVIEW,
    SALE,
    SOME_WORDS,
    TIME,
    TWO_NUMBERS,
    WORDS,
    WRITTEN_DATE,
)
from .task import Pool, Task, filled, rule_task
from .words import KINDS

ASKED = (
    "Answer {yes} if {rule}, otherwise {no}.",
    "{yes} or {no}? {yes} means that {rule}.",
    "Write {yes} when {rule} and {no} when not.",
    "If {rule}: {yes}. If not: {no}.",
    "Label this {yes} where {rule}, and {no} in all other cases.",
    "{no}, unless {rule}; then {yes}",
)
# Labels for what holds and what does not. Arbitrary ones make the rule unguessable from the label.
STYLES = (
    ("yes", "no"), ("no", "yes"), ("true", "false"), ("A", "B"), ("keep", "drop"), ("1", "0"), ("left", "right"), ("red", "green"), ("pass", "fail"), ("on", "off"),
)  # fmt: skip
LIVING = set(KINDS["animal"] + KINDS["bird"])
Rule = tuple[Pool, str, Callable[[Any], bool], str]
RULES: tuple[Rule, ...] = (
    (NUMBER, "even", lambda n: n % 2 == 0, "the number is even"),
    (NUMBER, "above-500", lambda n: n > 500, "the number is above 500"),
    (NUMBER, "by-five", lambda n: n % 5 == 0, "the number can be divided by five"),
    (NUMBER, "four-digits", lambda n: n > 999, "the number has four digits"),
    (TWO_NUMBERS, "first-larger", lambda p: p[0] > p[1], "the first number is larger than the second"),
    (TWO_NUMBERS, "sum-above-100", lambda p: sum(p) > 100, "the two numbers add up to more than 100"),
    (TWO_NUMBERS, "second-even", lambda p: p[1] % 2 == 0, "the second number is even"),
    (FOUR_NUMBERS, "last-above-50", lambda v: v[-1] > 50, "the last number is above 50"),
    (FOUR_NUMBERS, "first-largest", lambda v: v[0] == max(v), "the first number is the largest of all"),
    (WORDS[3], "first-longer", lambda w: len(w[0]) > len(w[-1]), "the first word has more letters than the last"),
    (WORDS[3], "in-order", lambda w: list(w) == sorted(w), "the words are in alphabetical order"),
    (SOME_WORDS, "many", lambda w: len(w) > 4, "there are more than four words"),
    (SOME_WORDS, "vowel-first", lambda w: w[0][0] in "aeiou", "the first word starts with a vowel"),
    (ANIMALS, "animal-first", lambda w: w[0] in LIVING, "the first word is an animal"),
    (ANIMALS, "animal-last", lambda w: w[-1] in LIVING, "the last word is an animal"),
    (ANIMALS, "two-animals", lambda w: sum(x in LIVING for x in w) > 1, "there are at least two animals"),
    (ISO_DATE, "before-2005", lambda d: d.year < 2005, "the date is before 2005"),
    (ISO_DATE, "first-half", lambda d: d.month < 7, "the date is in the first half of a year"),
    (ISO_DATE, "mid-month", lambda d: d.day > 15, "the day is after the 15th"),
    (WRITTEN_DATE, "summer", lambda d: d.month in (6, 7, 8), "the month is June, July or August"),
    (WRITTEN_DATE, "two-thousands", lambda d: d.year >= 2000, "the year is 2000 or later"),
    (TIME, "morning", lambda t: t[0] < 12, "the time is before noon"),
    (TIME, "half-past", lambda t: t[1] >= 30, "the minutes are 30 or more"),
    (TIME, "office", lambda t: 9 <= t[0] < 17, "the time is between nine and five"),
    (PERSON, "of-age", lambda o: o.age >= 18, "the person is 18 or older"),
    (PERSON, "over-fifty", lambda o: o.age > 50, "the person is older than 50"),
    (PERSON, "name-in-a", lambda o: o.first.endswith("a"), "the first name ends with a"),
    (PERSON, "early-surname", lambda o: o.last[0] < "M", "the surname starts with a letter before M"),
    (ORDER, "bulk", lambda o: o.count > 30, "more than 30 pieces are ordered"),
    (ORDER, "paid", lambda o: o.status == "paid", "the order is paid"),
    (ORDER, "early-series", lambda o: o.number[0] in "ABCD", "the order number starts with A, B, C or D"),
    (LOG, "serious", lambda o: o.level in ("ERROR", "WARN"), "the level is ERROR or WARN"),
    (LOG, "client-error", lambda o: o.code >= 400, "the code is 400 or above"),
    (PRICE, "dear", lambda p: p[0] >= 200, "the price is 200 dollars or more"),
    (PRICE, "over-half", lambda p: p[1] >= 50, "the cents are 50 or more"),
    (QUANTITY, "from-500", lambda q: q[0] >= 500, "the number is 500 or more"),
    (QUANTITY, "length", lambda q: q[1] in ("km", "m", "cm"), "the unit measures a length"),
    (REVIEW, "food", lambda r: "food" in (r[0], r[2]), "the review speaks of the food"),
    (REVIEW, "service-good", lambda r: r[0] in ("service", "staff", "coffee", "food"), "what is praised is service, staff, coffee or food"),
    (SALE, "dear", lambda v: v[0].price > 50, "the price is above 50 euros"),
    (SALE, "weekend", lambda v: v[0].day in ("Saturday", "Sunday"), "it happened on a weekend"),
    (PAGE, "org-or-net", lambda o: o.top in ("org", "net"), "the address ends in org or net"),
    (PHRASE, "noun-longer", lambda p: len(p[1]) > len(p[0]), "the second word is longer than the first"),
    (PHRASE, "starts-early", lambda p: p[1][0] < "m", "the second word starts with a letter before m"),
)

MAPPED = (
    "Choose among {labels}: {rule}.",
    "{rule}. Answer with one of {labels}.",
    "Which is it: {labels}? ({rule})",
    "Label the input. {rule}. Only the label.",
    "{labels} -- {rule}",
)
# Rules with more than two labels: (pool, name, label of a value, labels, how it is told)
Mapping = tuple[Pool, str, Callable[[Any], str], tuple[str, ...], str]
ACTIONS = {"paid": "ship", "open": "remind", "shipped": "track", "returned": "refund"}
DESKS = {"paid": "desk 3", "open": "desk 1", "shipped": "desk 4", "returned": "desk 2"}
ALARMS = {"ERROR": "page", "WARN": "mail", "INFO": "note", "DEBUG": "ignore"}
COLOURS = {"ERROR": "red", "WARN": "orange", "INFO": "green", "DEBUG": "grey"}
DIMENSIONS = {"km": "length", "m": "length", "cm": "length", "kg": "weight", "l": "volume", "h": "time"}
FILES = {"html": "page", "pdf": "document", "png": "picture", "txt": "text"}
SEASONS = ("winter", "winter", "spring", "spring", "spring", "summer", "summer", "summer", "autumn", "autumn", "autumn", "winter")
_told = lambda mapping: ", ".join(f"{key} is {label}" for key, label in mapping.items())
_labels = lambda mapping: tuple(dict.fromkeys(mapping.values()))
PARTS_OF_DAY = ("night", "morning", "afternoon", "evening")
MAPPINGS: tuple[Mapping, ...] = (
    (ORDER, "action", lambda o: ACTIONS[o.status], _labels(ACTIONS), _told(ACTIONS)),
    (ORDER, "desk", lambda o: DESKS[o.status], _labels(DESKS), _told(DESKS)),
    (ORDER, "size", lambda o: "small" if o.count <= 20 else "medium" if o.count <= 40 else "large", ("small", "medium", "large"), "up to 20 pieces is small, up to 40 medium, more is large"),
    (LOG, "alarm", lambda o: ALARMS[o.level], _labels(ALARMS), _told(ALARMS)),
    (LOG, "colour", lambda o: COLOURS[o.level], _labels(COLOURS), _told(COLOURS)),
    (LOG, "code-class", lambda o: ("info", "fine", "moved", "wrong", "broken")[o.code // 100 - 1], ("info", "fine", "moved", "wrong", "broken"), "codes from 100 are info, 200 fine, 300 moved, 400 wrong, 500 broken"),
    (QUANTITY, "dimension", lambda q: DIMENSIONS[q[1]], _labels(DIMENSIONS), _told(DIMENSIONS)),
    (PAGE, "file-kind", lambda o: FILES[o.kind], _labels(FILES), _told(FILES)),
    (ISO_DATE, "season", lambda d: SEASONS[d.month - 1], ("winter", "spring", "summer", "autumn"), "winter is from December to February, spring from March, summer from June, autumn from September"),
    (WRITTEN_DATE, "season", lambda d: SEASONS[d.month - 1], ("winter", "spring", "summer", "autumn"), "winter is from December to February, spring from March, summer from June, autumn from September"),
    (ISO_DATE, "part-of-month", lambda d: ("start", "middle", "end")[min(2, (d.day - 1) // 10)], ("start", "middle", "end"), "start is up to the 10th, middle up to the 20th, end after it"),
    (TIME, "part-of-day", lambda t: PARTS_OF_DAY[t[0] // 6], PARTS_OF_DAY, "night begins at 0:00, morning at 6:00, afternoon at 12:00, evening at 18:00"),
    (TIME, "shift", lambda t: "XYZ"[t[0] // 8], ("X", "Y", "Z"), "shift X starts at midnight, Y at eight, Z at four in the afternoon"),
    (PERSON, "ticket", lambda o: "child" if o.age < 18 else "senior" if o.age >= 65 else "adult", ("child", "adult", "senior"), "under 18 is child, from 65 on senior, else adult"),
    (PERSON, "queue", lambda o: "1" if o.last[0] < "H" else "2" if o.last[0] < "P" else "3", ("1", "2", "3"), "surnames A to G go to 1, H to O to 2, P to Z to 3"),
    (NUMBER, "size", lambda n: "low" if n < 300 else "high" if n > 2000 else "middle", ("low", "middle", "high"), "below 300 is low, above 2000 is high, else middle"),
    (PRICE, "class", lambda p: "C" if p[0] < 100 else "B" if p[0] < 250 else "A", ("A", "B", "C"), "under 100 dollars is C, under 250 is B, else A"),
    (ANIMALS, "majority", lambda w: (lambda n: "animals" if 2 * n > len(w) else "things" if 2 * n < len(w) else "tie")(sum(x in LIVING for x in w)), ("animals", "things", "tie"), "which are more in the list, animals or things, or is it a tie"),
)  # fmt: skip


def rule_tasks() -> list[Task]:
    made = []
    for index, (pool, name, holds, told) in enumerate(RULES):
        # Two styles of labels each, in turn, so that no style goes with one pool.
        for turn in range(2):
            yes, no = STYLES[(2 * index + 3 * turn + index // len(STYLES)) % len(STYLES)]
            wordings = filled(ASKED, yes=yes, no=no, rule=told)
            answer = lambda value, holds=holds, yes=yes, no=no: yes if holds(value) else no
            made.append(rule_task(pool, "rule", f"{name}-of-{pool.name}-{yes}-{no}", answer, wordings, (yes, no)))
    for pool, name, label, labels, told in MAPPINGS:
        wordings = filled(MAPPED, labels=", ".join(labels), rule=told)
        made.append(rule_task(pool, "label", f"{name}-of-{pool.name}", label, wordings, labels))
    return made
