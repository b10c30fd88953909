"""Operations on a short text: case, spelling, letters, replacing, decoration. `{x}` in a wording stands for what they are done to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """`words_only`: makes no sense of numbers and codes."""

    name: str
    family: str
    apply: Callable[[str], str]
    wordings: tuple[str, ...]
    words_only: bool = False


def _op(name: str, family: str, apply: Callable[[str], str], *wordings: str, words_only: bool = False) -> Operation:
    return Operation(name, family, apply, wordings, words_only)


CASE = (
    _op(
        "capitals", "case", str.upper,
        "Write {x} in capital letters.", "{x} in upper case", "Turn {x} into ALL CAPS.", "uppercase {x}",
        "I need {x} written in capitals only, please.", "Convert to upper case: {x}.", words_only=True,
    ),
    _op(
        "initial-capital", "case", str.capitalize,
        "Write {x} with a capital first letter.", "Capitalise {x}.", "{x}, but starting with a capital", "make the first letter of {x} a capital",
        "Please give me {x} with an upper-case initial and the rest small.", words_only=True,
    ),
    _op(
        "last-capital", "case", lambda text: text[:-1] + text[-1].upper(),
        "Write {x} with its last letter as a capital.", "capitalise only the final letter of {x}", "{x}, last letter in upper case",
        "Make the end letter of {x} a capital and leave the others as they are.", "Only the last letter of {x} should be upper case.", words_only=True,
    ),
)  # fmt: skip
PARTS = (
    _op(
        "first-letter", "letters", lambda text: text[0],
        "What is the first letter of {x}?", "Give the first letter of {x}.", "first character of {x}", "Which letter does {x} start with?",
        "Answer with the initial letter of {x} alone.", words_only=True,
    ),
    _op(
        "last-letter", "letters", lambda text: text[-1],
        "What is the last letter of {x}?", "Give the final letter of {x}.", "last character of {x}", "Which letter does {x} end with?",
        "Answer with the letter that {x} ends in, nothing more.", words_only=True,
    ),
    _op(
        "first-two", "letters", lambda text: text[:2],
        "Give the first two letters of {x}.", "Cut {x} after two letters.", "the two letters that {x} begins with", "first 2 characters of {x}",
        "Abbreviate {x} to its first two letters.", words_only=True,
    ),
    _op(
        "first-three", "letters", lambda text: text[:3],
        "Give the first three letters of {x}.", "Shorten {x} to three letters.", "the three letters {x} begins with", "first 3 characters of {x}",
        "Abbreviate {x}: three letters from its start.", words_only=True,
    ),
    _op(
        "last-two", "letters", lambda text: text[-2:],
        "Give the last two letters of {x}.", "What two letters does {x} end in?", "final 2 characters of {x}", "the ending of {x}, two letters long",
        "Write only the last two letters of {x}.", words_only=True,
    ),
    _op(
        "initial", "letters", lambda text: text[0].upper() + ".",
        "Write the initial of {x} with a full stop.", "{x} as an initial, like A.", "Abbreviate {x} to a capital letter and a dot.",
        "the dotted initial of {x}", "Give just the initial of {x}: capital, then a period.", words_only=True,
    ),
    _op(
        "without-first", "letters", lambda text: text[1:],
        "Write {x} without its first letter.", "Drop the first letter of {x}.", "{x} minus its initial letter", "Remove the first character from {x}.",
        "Leave out the letter that {x} begins with.", words_only=True,
    ),
    _op(
        "without-last", "letters", lambda text: text[:-1],
        "Write {x} without its last letter.", "Drop the last letter of {x}.", "{x} minus its final letter", "Remove the last character from {x}.",
        "Leave out the letter that {x} ends with.", words_only=True,
    ),
)  # fmt: skip
SPELLING = (
    _op(
        "spaced", "spelling", " ".join,
        "Spell {x} with spaces between its letters.", "Write {x} letter by letter, separated by blanks.", "s p a c e  out {x}",
        "Put a space between all letters of {x}.", "Break {x} into single letters with spaces.", words_only=True,
    ),
    _op(
        "hyphened", "spelling", "-".join,
        "Spell {x} with hyphens between its letters.", "Write {x} letter by letter, joined by hyphens.", "hyphenate every letter of {x}",
        "Put a dash between all letters of {x}.", "Spell out {x} l-i-k-e t-h-i-s.", words_only=True,
    ),
    _op(
        "dotted", "spelling", ".".join,
        "Spell {x} with dots between its letters.", "Write {x} letter by letter with full stops in between.", "dots between the letters of {x}",
        "Put a period between all letters of {x}.", "Break {x} into letters, a dot after each but the last.", words_only=True,
    ),
    _op(
        "spaced-capitals", "spelling", lambda text: " ".join(text.upper()),
        "Spell {x} in spaced capitals.", "Write {x} letter by letter in upper case, with blanks.", "capitals of {x}, one by one, spaces between",
        "Spell out {x} for a form: capital letters, one space between them.", "S P A C E D capitals for {x}", words_only=True,
    ),
)  # fmt: skip
REPLACING = (
    _op(
        "e-to-3", "replace", lambda text: text.replace("e", "3"),
        "Write {x} with 3 for every e.", "Replace each e in {x} by 3.", "{x}, all e's turned into 3", "Swap the letter e for the digit 3 in {x}.",
        "In {x}, put a 3 wherever there is an e.", words_only=True,
    ),
    _op(
        "a-to-at", "replace", lambda text: text.replace("a", "@"),
        "Write {x} with @ for every a.", "Replace each a in {x} by @.", "{x}, all a's turned into @", "Swap the letter a for @ in {x}.",
        "In {x}, put an @ wherever there is an a.", words_only=True,
    ),
    _op(
        "vowels-to-stars", "replace", lambda text: re.sub("[aeiouAEIOU]", "*", text),
        "Replace every vowel of {x} by a star.", "Write {x} with * for its vowels.", "mask the vowels in {x} with *", "Hide vowels: put * for each in {x}.",
        "In {x}, turn a, e, i, o and u into *.", words_only=True,
    ),
    _op(
        "vowels-out", "replace", lambda text: re.sub("[aeiouAEIOU]", "", text) or "-",
        "Write {x} without vowels.", "Remove all vowels from {x}.", "{x}, consonants only", "Leave out a, e, i, o and u in {x}.",
        "Strip the vowels from {x}; write - if nothing is left.", words_only=True,
    ),
    _op(
        "first-to-x", "replace", lambda text: "x" + text[1:],
        "Replace the first letter of {x} by x.", "Write {x} with x as its first letter.", "{x}, x in place of its initial", "Swap the first letter of {x} for an x.",
        "Put an x where {x} begins, instead of its own letter.", words_only=True,
    ),
    _op(
        "last-to-star", "replace", lambda text: text[:-1] + "*",
        "Replace the last character of {x} by a star.", "Write {x} with * as its last character.", "{x}, its end masked with one *",
        "Hide the final character of {x} behind *.", "Put * in place of whatever {x} ends with.",
    ),
)  # fmt: skip
DECORATION = (
    _op("in-brackets", "decorate", "[{}]".format, "Put {x} in square brackets.", "{x} in [ ]", "Write [ and ] around {x}.", "Enclose {x} in square brackets, please.", "bracket {x}"),
    _op("in-quotes", "decorate", '"{}"'.format, "Put {x} in double quotes.", "Quote {x}.", "Write quotation marks around {x}.", "{x} between double quotation marks", "Enclose {x} in quotes."),
    _op("in-tags", "decorate", "<b>{}</b>".format, "Make {x} bold in HTML.", "Wrap {x} in a b tag.", "{x} as <b>…</b>", "Write the HTML for {x} in bold.", "Put <b> before and </b> behind {x}."),
    _op("in-stars", "decorate", "**{}**".format, "Make {x} bold in Markdown.", "Two stars on each side of {x}.", "{x} as Markdown bold text", "Surround {x} with ** and **.", "Write {x} with double asterisks around it."),
    _op("hashtag", "decorate", "#{}".format, "Write {x} as a hashtag.", "Put # in front of {x}.", "{x} with a hash sign before it", "Turn {x} into a #tag.", "A hashtag from {x}, please."),
    _op("twice", "decorate", "{0} {0}".format, "Write {x} twice.", "Repeat {x} once, with a space.", "{x}, two times", "Say {x} two times in a row.", "Double {x}: write it, a blank, and it again."),
    _op("exclaimed", "decorate", "{}!".format, "Write {x} with an exclamation mark.", "Put ! behind {x}.", "{x}, exclaimed", "Add an exclamation mark to {x}.", "Say {x} as an exclamation."),
    _op("not", "decorate", "not {}".format, "Put the word not before {x}.", "Negate {x} by writing not in front of it.", "not, then {x}", "Write not followed by {x}.", "Say that it is not {x}: begin with not."),
    _op("labelled", "decorate", "answer: {}".format, "Write answer: and then {x}.", "Give {x} behind the label answer:", "{x} in the form answer: …", "Begin with answer: and continue with {x}.", "Label it: answer: {x}."),
    _op("as-json", "decorate", '{{"value": "{}"}}'.format, 'Give {x} as JSON with the key "value".', "{x} as a JSON object, key value", 'Write {{"value": …}} with {x} in it.', "JSON, please: one field called value that holds {x}.", "Return a JSON object whose value is {x}."),
    _op("arrow", "decorate", "-> {}".format, "Write an arrow -> before {x}.", "Point at {x} with ->.", "-> and then {x}", "Put -> in front of {x}.", "Begin with an arrow like -> and continue with {x}."),
    _op("please", "decorate", "{}, please".format, "Write {x} and add , please.", "Ask for {x} politely: put , please behind it.", "{x} followed by a comma and please", "Add the word please, after a comma, to {x}.", "Finish {x} with , please."),
)  # fmt: skip
LENGTH = (
    _op(
        "length", "count", lambda text: str(len(text)),
        "How many letters does {x} have?", "Count the letters of {x}.", "length of {x} in letters", "Give the number of letters in {x}.",
        "Answer with a number: how long is {x}?", words_only=True,
    ),
)  # fmt: skip
OPERATIONS = (*CASE, *PARTS, *SPELLING, *REPLACING, *DECORATION, *LENGTH)
