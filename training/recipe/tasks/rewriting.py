"""Tasks that write an input in another form: lists rearranged and joined, numbers, dates, times, quantities, records, clauses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from .inputs import (
    ANIMALS,
    CLAUSE,
    FOUR_NUMBERS,
    ISO_DATE,
    LOG,
    NUMBER,
    ORDER,
    PERSON,
    PHRASE,
    PRICE,
    QUANTITY,
    REVIEW,
    SALE,
    SMALL_NUMBER,
    SOME_WORDS,
    TIME,
    TWO_NUMBERS,
    UNITS,
    WORD,
    WORDS,
    WRITTEN_DATE,
)
from .task import Pool, Task, rule_task
from .words import KINDS, MONTHS, comparative, in_words, ordinal, past, plural, progressive, superlative, third_person

Answer = Callable[[Any], str]
# Wordings ask in several voices: an order, a question, a note, a request, a description of what comes out.
Entry = tuple[str, Answer, tuple[str, ...]]


def _tasks(pool: Pool, family: str, entries: list[Entry]) -> list[Task]:
    return [rule_task(pool, family, f"{name}-of-{pool.name}", answer, wordings) for name, answer, wordings in entries]


ARRANGED: list[Entry] = [
    ("reversed", lambda w: ", ".join(w[::-1]), ("Write the list backwards.", "Reverse the order of the items.", "last to first", "Turn the list around.", "Can you list them in the opposite order?")),
    ("sorted", lambda w: ", ".join(sorted(w)), ("Sort the list alphabetically.", "Put the words in alphabetical order.", "a to z", "Order these as a dictionary would.", "Could you alphabetise this list?")),
    ("sorted-down", lambda w: ", ".join(sorted(w)[::-1]), ("Sort the list from z to a.", "Put the words in reverse alphabetical order.", "z to a", "Alphabetical order, but backwards.", "Could you sort these, last letter of the alphabet first?")),
    ("without-first", lambda w: ", ".join(w[1:]), ("Leave out the first item.", "Drop the first word and keep the rest.", "everything after the first word", "Remove what comes first.", "The list again, minus its first entry, please.")),
    ("without-last", lambda w: ", ".join(w[:-1]), ("Leave out the last item.", "Drop the final word and keep the rest.", "everything before the last word", "Remove what comes last.", "The list again, minus its last entry, please.")),
    ("ends", lambda w: f"{w[0]}, {w[-1]}", ("Give the first and the last item.", "Only the two ends of the list.", "first and last word", "Keep the outer words, drop what is between.", "Which words stand at the start and at the end?")),
    ("swapped-ends", lambda w: ", ".join((w[-1], *w[1:-1], w[0])), ("Swap the first and the last item.", "Exchange both ends of the list.", "first and last change places", "Let the outer words trade places.", "Please write the list with its first and last word swapped.")),
    ("rotated", lambda w: ", ".join((*w[1:], w[0])), ("Move the first item to the end.", "Rotate the list by one.", "first word goes last", "Take the word in front and put it at the back.", "The same list, its first entry moved to the end.")),
    ("first-to-none", lambda w: ", ".join(("none", *w[1:])), ("Replace the first item by none.", "Write none instead of the first word.", "first word -> none", "Swap the opening word for none.", "The list with none in place of its first entry.")),
    ("last-to-none", lambda w: ", ".join((*w[:-1], "none")), ("Replace the last item by none.", "Write none instead of the last word.", "last word -> none", "Swap the closing word for none.", "The list with none in place of its last entry.")),
    ("first-two", lambda w: ", ".join(w[:2]), ("Give the first two items.", "Cut the list after two words.", "the two words in front", "Keep only the first 2.", "Which two come first?")),
    ("last-two", lambda w: ", ".join(w[-2:]), ("Give the last two items.", "Keep only the two at the end.", "the final two words", "Just the last 2.", "Which two come last?")),
]  # fmt: skip
JOINED: list[Entry] = [
    ("semicolons", "; ".join, ("Separate the items by semicolons.", "Use ; in place of commas.", "semicolon list", "Write these with semicolons between them.", "Can you join them with ; and a space?")),
    ("bars", " | ".join, ("Separate the items by vertical bars.", "Use | in place of commas.", "pipe-separated", "Write these with a bar between them.", "Can you join them with | like table cells?")),
    ("slashes", "/".join, ("Separate the items by slashes.", "Use / without spaces in place of commas.", "slash-separated", "Write these as a path.", "Can you join them with slashes?")),
    ("hyphens", "-".join, ("Join the items by hyphens.", "Use - without spaces in place of commas.", "hyphen-joined", "Make one hyphenated word of these.", "Can you glue them together with dashes?")),
    ("underscores", "_".join, ("Join the items by underscores.", "Write them in snake case.", "snake_case", "Make one identifier with underscores.", "Can you glue them together with _?")),
    ("camel", lambda w: w[0] + "".join(word.capitalize() for word in w[1:]), ("Write them in camel case.", "Make one camelCase name.", "camelCase", "Join the words, each but the first with a capital.", "An identifier like fooBarBaz from these, please.")),
    ("plus", " + ".join, ("Join the items by plus signs.", "Use + in place of commas.", "a + b + c", "Write these as a sum.", "Put a plus between them.")),
    ("and", " and ".join, ("Join the items by and.", "Write and in place of each comma.", "a and b and c", "Say them with and between.", "Use the word and instead of commas.")),
    ("or", " or ".join, ("Join the items by or.", "Write or in place of each comma.", "a or b or c", "Say them as alternatives.", "Use the word or instead of commas.")),
    ("sentence", lambda w: f"{', '.join(w[:-1])} and {w[-1]}", ("Write and before the last item instead of a comma.", "List them as a sentence would.", "a, b and c", "Join the last item with and.", "Enumerate these in plain English.")),
    ("json", lambda w: "[" + ", ".join(f'"{word}"' for word in w) + "]", ("Write the list as a JSON array.", "JSON, please.", 'like ["a", "b"]', "Turn these into a JSON list of strings.", "Format as an array with quoted strings.")),
    ("numbered", lambda w: " ".join(f"{i}. {word}" for i, word in enumerate(w, 1)), ("Number the items in one line.", "Write 1. 2. and so on before the items.", "numbered, one line", "Give each a number with a dot.", "Please number them, starting at 1.")),
    ("lettered", lambda w: " ".join(f"{'abcde'[i]}) {word}" for i, word in enumerate(w)), ("Letter the items in one line.", "Write a) b) and so on before the items.", "a) b) c), one line", "Give each a letter with a bracket.", "Please mark them a), b), c).")),
    ("angles", lambda w: "".join(f"<{word}>" for word in w), ("Put each item in angle brackets.", "Write <a><b><c>.", "angle brackets, no commas", "Each word between < and >.", "Wrap every word in < > without spaces.")),
    ("initials", lambda w: "".join(word[0].upper() for word in w), ("Write the initials as an abbreviation.", "Make an acronym of these.", "acronym", "First letters, in capitals, in one word.", "Which acronym do they give?")),
    ("capitals", lambda w: ", ".join(w).upper(), ("Write the list in capitals.", "All of it in upper case.", "UPPER CASE", "Shout the whole list.", "Every word in capital letters, please.")),
    ("titles", lambda w: ", ".join(word.capitalize() for word in w), ("Capitalise every item.", "Each word with a capital first letter.", "Title Case", "Make all initials capitals.", "Start every word with an upper-case letter, please.")),
    ("arrows", " -> ".join, ("Join the items by arrows.", "Use -> in place of commas.", "a -> b -> c", "Write them as a chain with arrows.", "Put -> between them.")),
]  # fmt: skip
COUNTED: list[Entry] = [
    ("words", lambda w: str(len(w)), ("How many words are there?", "Count the items.", "number of words", "Give the length of the list as a number.", "Answer with a number: how many entries?")),
    ("words-in-words", lambda w: in_words(len(w)), ("How many words are there, in words?", "Count the items and write the number as a word.", "number of words, spelled out", "Give the length of the list in letters.", "Say the count of entries without digits.")),
    ("words-doubled", lambda w: str(2 * len(w)), ("Twice the number of words.", "Count the items and double it.", "2 x the count", "How many would there be if each were there twice?", "The list's length times two.")),
    ("first-letters", lambda w: " ".join(word[0] for word in w), ("Give the first letter of every word.", "All initials, small, with spaces.", "initials of the list", "Which letters do the words start with?", "Write only the first letters, in order.")),
    ("last-letters", lambda w: " ".join(word[-1] for word in w), ("Give the last letter of every word.", "All final letters, with spaces.", "last letters of the list", "Which letters do the words end with?", "Write only the final letters, in order.")),
    ("lengths", lambda w: " ".join(str(len(word)) for word in w), ("Give the length of every word.", "Count the letters of each item.", "lengths of the words", "How long is each word? Numbers only.", "Write each word's number of letters.")),
    ("tally", lambda w: "|" * len(w), ("Make a tally mark for every word.", "One | for each item.", "tally of the list", "Count with strokes.", "As many vertical strokes as there are words.")),
]  # fmt: skip
LIVING = set(KINDS["animal"] + KINDS["bird"])
FILTERED: list[Entry] = [
    ("animals", lambda w: ", ".join(x for x in w if x in LIVING), ("List only the animals.", "Keep the living ones.", "animals only", "Which of these are animals?", "Filter out whatever is not an animal.")),
    ("things", lambda w: ", ".join(x for x in w if x not in LIVING), ("List only the things that do not live.", "Drop the animals.", "no animals", "Which of these are objects?", "Filter out all animals.")),
    ("animal-count", lambda w: str(sum(x in LIVING for x in w)), ("How many animals are there?", "Count the animals.", "number of animals", "Answer with a number: how many live?", "Give the count of living ones.")),
    ("thing-count", lambda w: str(sum(x not in LIVING for x in w)), ("How many objects are there?", "Count what is not an animal.", "number of things", "Answer with a number: how many do not live?", "Give the count of lifeless ones.")),
    ("animals-marked", lambda w: ", ".join(f"*{x}" if x in LIVING else x for x in w), ("Put a star before each animal.", "Mark the animals with *.", "star the animals", "Write the list with * in front of animals.", "Flag every living one with a star.")),
    ("animals-masked", lambda w: ", ".join("animal" if x in LIVING else x for x in w), ("Replace each animal by the word animal.", "Write animal for the living ones.", "animals -> animal", "Hide which animals they are: write animal.", "Swap every animal's name for animal.")),
]  # fmt: skip
NUMBERS: list[Entry] = [
    ("in-words", in_words, ("Write the number in words.", "Spell out this number.", "number in English words", "How is this number said?", "Please write it without digits.")),
    ("ordinal", ordinal, ("Write it as an ordinal.", "Add st, nd, rd or th.", "ordinal number, like 4th", "Which place is that, in digits?", "Turn this into an ordinal such as 1st.")),
    ("one-more", lambda n: str(n + 1), ("Add one.", "Which number comes next?", "n + 1", "One more than this.", "Count one further.")),
    ("one-less", lambda n: str(n - 1), ("Subtract one.", "Which number comes before?", "n - 1", "One less than this.", "Count one back.")),
    ("ten-more", lambda n: str(n + 10), ("Add ten.", "Ten more than this.", "n + 10", "What is it when you raise it by 10?", "Increase by ten.")),
    ("double", lambda n: str(2 * n), ("Double it.", "Twice this number.", "n x 2", "Multiply by two.", "How much is two times this?")),
    ("times-ten", lambda n: str(10 * n), ("Multiply by ten.", "Ten times this.", "n x 10", "Put a zero behind it.", "How much is it tenfold?")),
    ("padded", lambda n: f"{n:06d}", ("Pad it with zeros to six digits.", "Six digits, zeros in front.", "zero-padded to 6", "Write it with leading zeros, six places.", "Make it six digits long.")),
    ("last-digit", lambda n: str(n)[-1], ("Give the last digit.", "Which digit does it end with?", "final digit", "Only the units digit.", "What is the digit at the end?")),
    ("first-digit", lambda n: str(n)[0], ("Give the first digit.", "Which digit does it start with?", "leading digit", "Only the digit in front.", "What is the digit at the start?")),
    ("digits-back", lambda n: str(n)[::-1], ("Write the digits backwards.", "Reverse the digits.", "mirror the number", "Read it from right to left.", "The digits in opposite order, please.")),
    ("digits-apart", lambda n: " ".join(str(n)), ("Put spaces between the digits.", "Write the digits one by one.", "digits with blanks", "Space the digits out.", "Separate its digits by spaces.")),
    ("digits-in-words", lambda n: " ".join(in_words(int(d)) for d in str(n)), ("Say the digits one by one.", "Write each digit as a word.", "digit by digit, in words", "Read it like a phone number.", "Spell every digit out.")),
    ("digit-count", lambda n: str(len(str(n))), ("How many digits does it have?", "Count the digits.", "number of digits", "Its length in digits.", "Answer with the count of digits.")),
    ("dollars", lambda n: f"${n}.00", ("Write it as a price in dollars with cents.", "As dollars, two decimals.", "$n.00", "Format as US currency.", "Make a dollar amount of it.")),
    ("percent", lambda n: f"{n} %", ("Write it as a percentage.", "Add a space and a percent sign.", "n %", "Put % behind it.", "As per cent, with the sign.")),
    ("hash", lambda n: f"#{n}", ("Write it as a number with a hash.", "Put # in front.", "#n", "As an issue number.", "Give it a leading hash sign.")),
    ("decimal", lambda n: f"{n}.0", ("Write it with one decimal.", "Add .0", "n.0", "As a floating-point number.", "One digit after the point, please.")),
    ("negative", lambda n: f"-{n}", ("Make it negative.", "Change its sign.", "-n", "Put a minus in front.", "The opposite number.")),
    ("down-to-ten", lambda n: str(n // 10 * 10), ("Round down to tens.", "Replace the last digit by 0.", "floor to ten", "The multiple of ten just below or at it.", "Cut to a whole ten.")),
]  # fmt: skip
PAIRS: list[Entry] = [
    ("sum", lambda p: str(p[0] + p[1]), ("Add the two numbers.", "What is their sum?", "a + b", "How much together?", "Sum these up.")),
    ("difference", lambda p: str(p[0] - p[1]), ("Subtract the second from the first.", "What is the first minus the second?", "a - b", "Take the second number off the first.", "The difference, with its sign.")),
    ("larger", lambda p: str(max(p)), ("Give the larger number.", "Which one is greater?", "max", "The bigger of the two.", "Keep the higher one.")),
    ("smaller", lambda p: str(min(p)), ("Give the smaller number.", "Which one is less?", "min", "The lower of the two.", "Keep the least one.")),
    ("second", lambda p: str(p[1]), ("Give the second number.", "Which number comes last?", "b", "The one behind the space.", "Drop the first number.")),
    ("swapped", lambda p: f"{p[1]} {p[0]}", ("Swap the two numbers.", "Write them in the other order.", "b a", "Let them change places.", "Second one first.")),
    ("ascending", lambda p: f"{min(p)} {max(p)}", ("Write the smaller one first.", "Sort the two numbers.", "ascending", "Low, then high.", "Order them by size.")),
    ("fraction", lambda p: f"{p[0]}/{p[1]}", ("Write them as a fraction.", "Join them with a slash.", "a/b", "First over second.", "As a quotient with /.")),
    ("range", lambda p: f"{min(p)}-{max(p)}", ("Write them as a range.", "From the lower to the higher, with a hyphen.", "low-high", "As an interval like 3-9.", "A range from smallest to largest.")),
    ("compared", lambda p: f"{p[0]} {'>' if p[0] > p[1] else '<'} {p[1]}", ("Put < or > between them.", "Compare them by a sign.", "a < b or a > b", "Which sign belongs between?", "Write the right inequality.")),
    ("equation", lambda p: f"{p[0]} + {p[1]} = {p[0] + p[1]}", ("Write the addition with its result.", "As a sum with the equals sign.", "a + b = c", "Write out the whole addition.", "Make an addition equation of them.")),
    ("coordinates", lambda p: f"({p[0]}, {p[1]})", ("Write them as coordinates.", "In parentheses with a comma.", "(a, b)", "As a point.", "As a pair in round brackets.")),
    ("in-words", lambda p: f"{in_words(p[0])} {in_words(p[1])}", ("Write both numbers in words.", "Spell the two out.", "both in English words", "Say them without digits.", "The same two, in letters.")),
]  # fmt: skip
SORTED_NUMBERS: list[Entry] = [
    ("ascending", lambda v: ", ".join(map(str, sorted(v))), ("Sort from small to large.", "Put the numbers in ascending order.", "low to high", "Order these by size, smallest first.", "Can you sort them upwards?")),
    ("descending", lambda v: ", ".join(map(str, sorted(v)[::-1])), ("Sort from large to small.", "Put the numbers in descending order.", "high to low", "Order these by size, largest first.", "Can you sort them downwards?")),
    ("reversed", lambda v: ", ".join(map(str, v[::-1])), ("Write the numbers backwards.", "Reverse the order of the numbers.", "last to first", "Turn the list of numbers around.", "The numbers in the opposite order.")),
    ("even-ones", lambda v: ", ".join(str(n) for n in v if n % 2 == 0) or "none", ("Keep the even numbers.", "Only the even ones; none if there are none.", "even numbers", "Drop all odd numbers.", "Which of these can be halved?")),
    ("above-fifty", lambda v: ", ".join(str(n) for n in v if n > 50) or "none", ("Keep the numbers above 50.", "Only those over 50; none if there are none.", "> 50", "Drop whatever is 50 or less.", "Which of these exceed fifty?")),
]  # fmt: skip
_two = lambda n: f"{n:02d}"
DATES: list[Entry] = [
    ("us", lambda d: f"{_two(d.month)}/{_two(d.day)}/{d.year}", ("Write the date as Americans do.", "MM/DD/YYYY", "month/day/year in digits", "US format, please.", "The date with slashes, month first.")),
    ("german", lambda d: f"{_two(d.day)}.{_two(d.month)}.{d.year}", ("Write the date as Germans do.", "DD.MM.YYYY", "day.month.year in digits", "German format, please.", "The date with dots, day first.")),
    ("compact", lambda d: f"{d.year}{_two(d.month)}{_two(d.day)}", ("Write the date as eight digits.", "YYYYMMDD", "date without separators", "As one number, year first.", "Eight digits in a row, please.")),
    ("short", lambda d: f"{d.day} {MONTHS[d.month - 1][:3]}", ("Write day and short month.", "Like 4 Jan", "day, then three letters of the month", "Drop the year and shorten the month.", "A short date without the year.")),
    ("month-year", lambda d: f"{MONTHS[d.month - 1]} {d.year}", ("Write month and year.", "Like January 1999", "month in words, then year", "Drop the day.", "Only month and year, please.")),
    ("two-digit-year", lambda d: _two(d.year % 100), ("Give the year in two digits.", "Last two digits of the year.", "YY", "The year, shortened.", "Only the year's final two digits.")),
    ("quarter", lambda d: f"Q{(d.month + 2) // 3}", ("Which quarter is it?", "Give the quarter, like Q1.", "quarter of the year", "Q1, Q2, Q3 or Q4?", "Name the quarter this date falls in.")),
    ("next-month", lambda d: MONTHS[d.month % 12], ("Which month comes after?", "Name the following month.", "the next month", "What month is it a month later?", "The month after this one, in words.")),
    ("decade", lambda d: f"{d.year // 10 * 10}s", ("Which decade is it?", "Give the decade, like 1990s.", "decade", "The ten years it belongs to, with an s.", "Name the decade of this date.")),
    ("first-of-month", lambda d: d.replace(day=1).isoformat(), ("Give the first day of that month as YYYY-MM-DD.", "Set the day to 1, ISO format.", "first of the month, ISO", "When did this month begin? ISO date.", "ISO date of the month's first day.")),
    ("next-year", lambda d: str(d.year + 1), ("Which year comes after?", "Give the following year.", "year + 1", "The year one later.", "What is the next year?")),
]  # fmt: skip
ISO: list[Entry] = [("iso", lambda d: d.isoformat(), ("Write the date in ISO format.", "YYYY-MM-DD", "ISO 8601 date", "Year, month and day in digits with hyphens.", "For a computer: year-month-day."))]  # fmt: skip
WRITTEN: list[Entry] = [
    ("written", lambda d: f"{d.day} {MONTHS[d.month - 1]} {d.year}", ("Write the month in words.", "Like 4 January 1999", "day month year, month in words", "As one writes it in a letter.", "Spell the month out.")),
    ("tomorrow", lambda d: (d + timedelta(days=1)).isoformat(), ("Give the next day.", "The date one day later.", "tomorrow of this", "Add a day.", "What date follows?")),
]  # fmt: skip
TIMES: list[Entry] = [
    ("twelve-hours", lambda t: f"{(t[0] + 11) % 12 + 1}:{_two(t[1])} {'am' if t[0] < 12 else 'pm'}", ("Write the time with am or pm.", "12-hour clock.", "like 3:05 pm", "As Americans say the time.", "Convert to am/pm.")),
    ("dotted", lambda t: f"{_two(t[0])}.{_two(t[1])}", ("Use a dot in place of the colon.", "Write hh.mm", "dot, no colon", "Separate hour and minutes by a full stop.", "The time with a dot.")),
    ("seconds", lambda t: f"{_two(t[0])}:{_two(t[1])}:00", ("Add seconds.", "Write hh:mm:00", "with :00", "The time with zero seconds.", "Make it hours, minutes and seconds.")),
    ("hour-later", lambda t: f"{_two((t[0] + 1) % 24)}:{_two(t[1])}", ("Give the time one hour later.", "Add an hour.", "+1 h", "What time is it an hour on?", "Shift by one hour.")),
    ("hour-earlier", lambda t: f"{_two((t[0] - 1) % 24)}:{_two(t[1])}", ("Give the time one hour earlier.", "Subtract an hour.", "-1 h", "What time was it an hour ago?", "Shift back by one hour.")),
    ("full-hour", lambda t: f"{_two(t[0])}:00", ("Round down to the full hour.", "Set the minutes to 00.", "hh:00", "Which full hour has struck last?", "Drop the minutes: write 00.")),
    ("compact", lambda t: f"{_two(t[0])}{_two(t[1])}", ("Write it as four digits.", "Leave out the colon.", "hhmm", "Military style.", "The time without its separator.")),
    ("h-form", lambda t: f"{t[0]}h{_two(t[1])}", ("Use the letter h as the separator.", "Write it as in 9h05.", "h between hour and minutes", "French style.", "Hours, h, minutes.")),
    ("words", lambda t: f"{in_words(t[0])} hours {in_words(t[1])}", ("Say hours and minutes in words.", "Like nine hours five", "time in words", "Spell it out: hours, then minutes.", "Write the time without digits.")),
]  # fmt: skip
QUANTITIES: list[Entry] = [
    ("value", lambda q: str(q[0]), ("Give the number without the unit.", "Drop the unit.", "value only", "How many units?", "The bare figure, please.")),
    ("unit", lambda q: q[1], ("Give the unit.", "Only the unit's symbol.", "unit only", "In which unit is that?", "Drop the number.")),
    ("unit-name", lambda q: UNITS[q[1]][0], ("Name the unit in full, singular.", "Write the unit as a word.", "unit, spelled out", "What is this unit called?", "The unit's name, please.")),
    ("spelled", lambda q: f"{q[0]} {UNITS[q[1]][0]}s", ("Write the unit in full.", "Spell the unit out behind the number.", "like 5 metres", "No abbreviation, please.", "The same with the unit as a word.")),
    ("smaller", lambda q: f"{q[0] * UNITS[q[1]][1]} {UNITS[q[1]][2]}", ("Convert to the next smaller unit.", "In the smaller unit: m, cm, mm, g, ml or min.", "smaller unit", "How much is that in the unit below?", "Express it in the finer unit.")),
    ("glued", lambda q: f"{q[0]}{q[1]}", ("Leave out the space.", "Number and unit without a blank.", "glued together", "Write it as one word.", "Remove the gap before the unit.")),
    ("unit-first", lambda q: f"{q[1]} {q[0]}", ("Put the unit first.", "Swap number and unit.", "unit, then number", "Write the unit in front.", "The other way round.")),
    ("bracketed", lambda q: f"{q[0]} ({q[1]})", ("Put the unit in parentheses.", "Number, then unit in round brackets.", "n (unit)", "Bracket the unit.", "Enclose the unit.")),
    ("double", lambda q: f"{2 * q[0]} {q[1]}", ("Double it, same unit.", "Twice as much.", "2 x", "For two of them.", "Multiply by two and keep the unit.")),
    ("pair", lambda q: f"value={q[0]} unit={q[1]}", ("Write value= and unit=.", "As key=value pairs.", "value=… unit=…", "Label number and unit with equals signs.", "In the form value=N unit=U.")),
    ("word-number", lambda q: f"{in_words(q[0])} {q[1]}", ("Write the number in words, keep the unit.", "Spell out the figure.", "number in words, unit as it is", "Say the number, then the symbol.", "No digits, please; the unit stays.")),
]  # fmt: skip
PRICES: list[Entry] = [
    ("bare", lambda p: f"{p[0]}.{_two(p[1])}", ("Drop the dollar sign.", "The amount without currency.", "no sign", "Just the figure.", "Leave out $.")),
    ("code", lambda p: f"{p[0]}.{_two(p[1])} USD", ("Write USD behind it in place of $.", "Use the currency code.", "n USD", "As banks write it: amount, then USD.", "Replace the sign by the code.")),
    ("whole", lambda p: f"${p[0]}", ("Drop the cents.", "Whole dollars only.", "no decimals", "Cut what is behind the point.", "Round down to dollars.")),
    ("cents", lambda p: _two(p[1]), ("Give the cents.", "Only the two digits behind the point.", "cents part", "What follows the decimal point?", "The cents, two digits.")),
    ("comma", lambda p: f"{p[0]},{_two(p[1])} $", ("Write it with a comma, sign behind.", "European style, $ at the end.", "n,nn $", "As in Europe.", "Comma for the point, and move the sign back.")),
    ("words", lambda p: f"{in_words(p[0])} dollars and {in_words(p[1])} cents", ("Write the amount in words.", "Spell it out as on a cheque.", "dollars and cents, in words", "Say the price.", "No digits, please.")),
    ("all-cents", lambda p: str(100 * p[0] + p[1]), ("How many cents is that?", "Convert to cents.", "in cents", "The whole amount in cents, digits only.", "As an integer number of cents.")),
    ("next-dollar", lambda p: f"${p[0] + 1}", ("Round up to the next whole dollar, cents or not.", "One dollar more, no cents.", "dollars + 1", "The next full dollar.", "Go up to the dollar above.")),
    ("negative", lambda p: f"-${p[0]}.{_two(p[1])}", ("Write it as a refund.", "Put a minus in front.", "negative amount", "As money that goes out.", "Make the amount negative.")),
]  # fmt: skip
PEOPLE: list[Entry] = [
    ("initials", lambda o: f"{o.first[0]}. {o.last[0]}.", ("Give the initials with full stops.", "Like A. B.", "initials", "Abbreviate both names.", "Initials of the person, dotted.")),
    ("last-first", lambda o: f"{o.last}, {o.first}", ("Write the surname, a comma, the first name.", "As in a register.", "Last, First", "Name in library order.", "Surname first.")),
    ("short", lambda o: f"{o.first[0]}. {o.last}", ("Abbreviate the first name.", "Like A. Weber", "initial and surname", "Shorten the given name to a letter and a dot.", "First initial, then the surname.")),
    ("email", lambda o: f"{o.first.lower()}.{o.last.lower()}@example.org", ("Make an e-mail address at example.org.", "first.last@example.org, small letters", "e-mail address", "Which address would this person have at example.org?", "Build the mail address from the name.")),
    ("user", lambda o: f"{o.first[0]}{o.last}".lower(), ("Make a user name: first letter and surname.", "Login name, small letters.", "like aweber", "Initial and surname in one, lower case.", "The account name of this person.")),
    ("greeting", lambda o: f"Dear {o.first} {o.last},", ("Write the first line of a letter.", "Greet the person by full name with Dear.", "Dear … ,", "How does a letter to this person begin?", "Salutation, please.")),
    ("hello", lambda o: f"Hi {o.first}!", ("Greet the person informally.", "Hi and the first name.", "Hi …!", "A short hello with an exclamation mark.", "Say hi.")),
    ("sentence", lambda o: f"{o.first} is a {o.job} from {o.city}.", ("Introduce the person in a sentence with job and city.", "X is a … from ….", "who is it, and from where", "Say the job and the town in a sentence.", "One sentence: first name, job, city.")),
    ("json", lambda o: f'{{"name": "{o.first} {o.last}", "age": {o.age}}}', ("Give name and age as JSON.", 'Like {"name": "…", "age": …}', "JSON of name and age", "A JSON object with two fields: name, age.", "For a program: name and age in JSON.")),
    ("pairs", lambda o: f"job={o.job}; city={o.city}", ("Write job= and city=.", "Job and city as key=value pairs.", "job=…; city=…", "Job and town with equals signs and a semicolon.", "Label job and city.")),
    ("full-name", lambda o: f"{o.first} {o.last}", ("Give the full name.", "First and last name.", "name", "Who is it?", "The person's name, nothing else.")),
    ("next-age", lambda o: str(o.age + 1), ("How old will the person be next year?", "Age plus one.", "age next year", "Add a year to the age.", "The age at the next birthday.")),
    ("place-in-brackets", lambda o: f"{o.last} ({o.city})", ("Surname, then the city in brackets.", "Like Weber (Lyon)", "last name (city)", "Surname with the town behind it in parentheses.", "The family name and where from, in brackets.")),
]  # fmt: skip
CLAUSES: list[Entry] = [
    ("present", lambda c: f"{c[0]} {third_person(c[1])}", ("Make a clause in the present.", "Present tense.", "she walks", "Say that it happens regularly.", "Subject and verb, simple present.")),
    ("past", lambda c: f"{c[0]} {past(c[1])}", ("Make a clause in the past.", "Past tense.", "she walked", "Say that it happened.", "Subject and verb, simple past.")),
    ("future", lambda c: f"{c[0]} will {c[1]}", ("Make a clause in the future.", "Future with will.", "she will walk", "Say that it is going to happen, with will.", "Subject, will, verb.")),
    ("progressive", lambda c: f"{c[0]} is {progressive(c[1])}", ("Make a clause in the progressive.", "Present continuous.", "she is walking", "Say that it is happening now.", "Subject, is, -ing form.")),
    ("perfect", lambda c: f"{c[0]} has {past(c[1])}", ("Make a clause in the perfect.", "Present perfect.", "she has walked", "Say that it has been done.", "Subject, has, past participle.")),
    ("negated", lambda c: f"{c[0]} does not {c[1]}", ("Deny it.", "Negate, with does not.", "she does not walk", "Say that it does not happen.", "Subject, does not, verb.")),
    ("question", lambda c: f"does {c[0]} {c[1]}?", ("Make a question.", "Ask with does.", "does she walk?", "Ask whether it happens.", "Turn this into a question.")),
    ("can", lambda c: f"{c[0]} can {c[1]}", ("Say who can do it.", "Use can.", "she can walk", "Tell the ability.", "Subject, can, verb.")),
    ("must", lambda c: f"{c[0]} must {c[1]}", ("Say that it is a duty.", "Use must.", "she must walk", "Tell the obligation.", "Subject, must, verb.")),
    ("past-question", lambda c: f"did {c[0]} {c[1]}?", ("Ask whether it happened.", "Ask with did.", "did she walk?", "A question about the past.", "Question in the past tense.")),
    ("let", lambda c: f"let {c[0]} {c[1]}", ("Ask to let it happen.", "Begin with let.", "let her walk, pronoun unchanged", "Say let, subject, verb.", "Demand it with let.")),
]  # fmt: skip
SALES: list[Entry] = [
    ("who-to-whom", lambda v: f"{v[0].seller} -> {v[0].buyer}", ("Who sold to whom? With an arrow.", "seller -> buyer", "write seller, arrow, buyer", "Draw the sale as an arrow between names.", "From whom to whom did it go?")),
    ("count-and-thing", lambda v: f"{v[0].count} {v[0].thing}s", ("What was sold, and how many?", "Number and goods.", "n things", "Count and name of the goods.", "What changed hands? With the number.")),
    ("one-thing", lambda v: v[0].thing, ("Name one piece of the goods, in the singular.", "Goods, singular.", "the thing, not its plural", "What is one of them called?", "The article in the singular.")),
    ("price-tag", lambda v: f"EUR {v[0].price}", ("Give the price with EUR in front.", "EUR n", "amount with currency code first", "How much was paid? Write EUR first.", "Price tag in EUR.")),
    ("day-short", lambda v: v[0].day[:3], ("Give the weekday in three letters.", "Like Mon", "short weekday", "Abbreviate the day.", "Which day, shortened to three letters?")),
    ("row", lambda v: f"{v[0].seller};{v[0].buyer};{v[0].count};{v[0].thing}", ("Write seller;buyer;count;thing (singular).", "As a CSV row with semicolons: seller, buyer, number, thing in the singular.", "seller;buyer;n;thing", "One row for a table: who, to whom, how many, what.", "Semicolon-separated: seller, buyer, count, singular thing.")),
]  # fmt: skip
LOGS: list[Entry] = [
    ("level-and-part", lambda o: f"{o.level}/{o.part}", ("Give level and component with a slash.", "LEVEL/part", "level/component", "Which level in which component? Join with /.", "Severity, slash, module.")),
    ("small-level", lambda o: o.level.lower(), ("Give the level in small letters.", "level, lower case", "severity in lower case", "How bad is it? small letters", "Lower-case log level.")),
    ("hundreds", lambda o: f"{o.code // 100}xx", ("Give the class of the code, like 4xx.", "Code by hundreds.", "nxx", "First digit of the code and xx.", "Which class does the code belong to?")),
    ("short", lambda o: f"{o.part}: {o.message}", ("Keep component and message.", "Drop date, time, level and code.", "part: message", "The entry without its stamp and number.", "Only what happened where.")),
    ("stamp", lambda o: f"{o.day}T{o.time}", ("Give the time stamp in ISO form.", "Date, T, time.", "ISO time stamp", "When, with a T between?", "Join date and time by T.")),
]  # fmt: skip
ORDERS: list[Entry] = [
    ("line", lambda o: f"{o.count} {o.thing}", ("Give number and article.", "n thing", "count and item", "What was ordered, and how many?", "Quantity, then article.")),
    ("digits", lambda o: o.number[2:], ("Give the digits of the order number.", "Order number without its letter.", "four digits of the id", "The number part of the id.", "Drop the letter and the hyphen of the id.")),
    ("letter", lambda o: o.number[0], ("Give the letter of the order number.", "Series of the order.", "letter of the id", "Which letter does the id begin with?", "Only the id's letter.")),
    ("parcel", lambda o: f"{o.thing} -> {o.city}", ("What goes where? With an arrow.", "thing -> city", "article, arrow, town", "Write article and destination with an arrow.", "Ship what to which city?")),
    ("status-tag", lambda o: f"[{o.status.upper()}]", ("Give the status as a tag in capitals.", "Like [PAID]", "[STATUS]", "Status in capitals and square brackets.", "Tag the order with its status.")),
    ("sentence", lambda o: f"Order {o.number} is {o.status}.", ("Tell the customer the status in a sentence.", "Order X is ….", "status sentence", "Say in a sentence what state the order is in.", "One sentence about the order's status.")),
]  # fmt: skip
REVIEWS: list[Entry] = [
    ("praised", lambda r: r[0], ("What is praised?", "Which thing did they like?", "liked aspect", "Name what was good.", "The aspect with praise.")),
    ("blamed", lambda r: r[2], ("What is criticised?", "Which thing did they dislike?", "disliked aspect", "Name what was bad.", "The aspect with blame.")),
    ("praise", lambda r: r[1], ("Give the word of praise.", "Which positive word is used?", "positive adjective", "The good word.", "With what word do they praise?")),
    ("blame", lambda r: r[3], ("Give the word of blame.", "Which negative word is used?", "negative adjective", "The bad word.", "With what word do they complain?")),
    ("signs", lambda r: f"+{r[0]} -{r[2]}", ("Write + before what they like, - before what they dislike.", "+good -bad", "plus and minus", "Summary with signs: plus the good, minus the bad.", "Good aspect with +, bad one with -.")),
]  # fmt: skip
PHRASES: list[Entry] = [
    ("swapped", lambda p: f"{p[1]} {p[0]}", ("Swap the two words.", "Second word first.", "b a", "Turn the phrase around.", "Let the words change places.")),
    ("camel", lambda p: p[0] + p[1].capitalize(), ("Write it in camel case.", "camelCase", "one word, second part with a capital", "As a variable name in Java.", "Join both, capital in the middle.")),
    ("initials", lambda p: f"{p[0][0]}{p[1][0]}".upper(), ("Give the two initials in capitals.", "Abbreviate to two capitals.", "AB", "First letters of both words.", "An abbreviation of two letters, please.")),
    ("and", lambda p: f"{p[1]}, which is {p[0]}", ("Say it as thing, which is so.", "noun, which is adjective", "Turn the adjective into a clause with which is.", "Say it with which is.", "Rephrase: the noun first, then which is.")),
    ("plural", lambda p: f"{p[0]} {plural(p[1])}", ("Put it into the plural.", "More than one.", "plural", "Write it for several of them.", "Make the noun plural.")),
    ("a", lambda p: f"{'an' if p[0][0] in 'aeiou' else 'a'} {p[0]} {p[1]}", ("Put a or an in front.", "Add the indefinite article.", "a or an", "With its article.", "Say it with a or an.")),
    ("is", lambda p: f"The {p[1]} is {p[0]}.", ("Make a sentence with is.", "The … is ….", "sentence", "Say of the noun that it is so.", "Turn the phrase into a statement.")),
    ("compared", lambda p: f"{comparative(p[0])} than the {p[1]}", ("Compare with it: say -er than the noun.", "Comparative, then than the ….", "cheaper than the quilt, and so on", "Put the adjective into the comparative and add than the noun.", "Say that something is more so than the noun.")),
    ("superlative", lambda p: f"the {superlative(p[0])} {p[1]}", ("Put the adjective into the superlative, with the.", "the …-est …", "superlative", "Say that it is the most so of all.", "With the, and the adjective in its highest degree.")),
    ("question", lambda p: f"Is the {p[1]} {p[0]}?", ("Make a question with is.", "Is the … …?", "question", "Ask whether the noun is so.", "Turn the phrase into a yes-or-no question.")),
]  # fmt: skip


def rewriting_tasks() -> list[Task]:
    return [
        *(task for count in (3, 4) for task in _tasks(WORDS[count], "arrange", ARRANGED)),
        *(task for count in (3, 4) for task in _tasks(WORDS[count], "join", JOINED)),
        *_tasks(SOME_WORDS, "count", COUNTED),
        *_tasks(ANIMALS, "filter", FILTERED),
        *_tasks(NUMBER, "number", NUMBERS),
        *_tasks(SMALL_NUMBER, "number", NUMBERS[:5]),
        *_tasks(TWO_NUMBERS, "two-numbers", PAIRS),
        *_tasks(FOUR_NUMBERS, "sort-numbers", SORTED_NUMBERS),
        *_tasks(ISO_DATE, "date-format", [*DATES, *WRITTEN]),
        *_tasks(WRITTEN_DATE, "date-format", [*DATES, *ISO]),
        *_tasks(TIME, "time-format", TIMES),
        *_tasks(QUANTITY, "units", QUANTITIES),
        *_tasks(PRICE, "price", PRICES),
        *_tasks(PERSON, "person-format", PEOPLE),
        *_tasks(CLAUSE, "tense", CLAUSES),
        *_tasks(SALE, "sale-format", SALES),
        *_tasks(LOG, "log-format", LOGS),
        *_tasks(ORDER, "order-format", ORDERS),
        *_tasks(REVIEW, "review", REVIEWS),
        *_tasks(PHRASE, "phrase", PHRASES),
        *_tasks(WORD, "word", [("backwards", lambda w: w[::-1], ("Write the word backwards.", "Reverse the letters.", "mirrored", "Read it from its end.", "The letters in opposite order."))]),
    ]
