"""Synthetic task families: seeded, written for this recipe, no text of any data set in them.

They are there for diversity of form, not of knowledge: the public sets alone hold one way of asking yes or no and one way
of choosing between two, so a generator that has one of them held out could not know that such forms exist.
"""

from __future__ import annotations

import random
from typing import Callable

NAMES = "Anna Ben Carla David Elena Farid Grace Hugo Irene Jonas Kira Liam Maya Nora Omar Paula Quinn Rosa Sven Tara".split()
WORDS = (
    "river table candle window garden stone market bridge letter orange pencil summer winter forest island mirror "
    "basket ladder butter carpet circle dragon engine feather hammer jacket kitchen lantern magnet needle ocean "
    "pepper rabbit saddle ticket umbrella velvet wagon yellow zebra anchor button cactus desert elbow flower glove"
).split()
CAPITALS = dict(
    pair.split("=")
    for pair in (
        "france=paris italy=rome spain=madrid germany=berlin japan=tokyo egypt=cairo kenya=nairobi peru=lima "
        "cuba=havana norway=oslo sweden=stockholm finland=helsinki poland=warsaw greece=athens portugal=lisbon "
        "ireland=dublin austria=vienna hungary=budapest russia=moscow china=beijing thailand=bangkok vietnam=hanoi "
        "canada=ottawa chile=santiago colombia=bogota argentina=buenos_aires iran=tehran iraq=baghdad syria=damascus "
        "nepal=kathmandu ghana=accra senegal=dakar belgium=brussels denmark=copenhagen iceland=reykjavik"
    ).split()
)
KINDS = {
    "fish": "salmon trout tuna cod herring carp pike eel".split(),
    "bird": "robin eagle sparrow parrot owl crow heron finch".split(),
    "mammal": "dog horse whale bat tiger mouse goat seal".split(),
    "insect": "ant bee beetle moth wasp cricket mosquito termite".split(),
    "tree": "oak birch maple willow cedar spruce beech ash".split(),
    "fruit": "apple pear mango banana cherry plum peach grape".split(),
    "metal": "iron copper gold silver zinc nickel tin lead".split(),
    "colour": "red blue green purple brown white grey pink".split(),
    "instrument": "piano violin flute drum trumpet cello harp guitar".split(),
    "vehicle": "bus bicycle train truck tram ferry scooter van".split(),
}
MONTHS = "january february march april may june july august september october november december".split()
POSITIVE = "joyful kind brave honest generous cheerful gentle brilliant graceful loyal delightful hopeful".split()
NEGATIVE = "cruel lazy rude selfish gloomy hateful greedy dreadful nasty dishonest awful miserable".split()

Row = dict[str, object]


def _judged(question: str, truth: bool) -> Row:
    return {"prompt": question, "response": "[True]" if truth else "[False]", "choices": ["[True]", "[False]"]}


def _chosen(question: str, options: list[str], right: int, ask: str = "") -> Row:
    letters = "ABCD"[: len(options)]
    lines = [question, *(f"{letter}: {option}" for letter, option in zip(letters, options))]
    if ask:
        lines.append(ask)
    return {
        "prompt": "\n".join(lines),
        "response": f"[{letters[right]}]",
        "choices": [f"[{letter}]" for letter in letters],
    }


def _free(prompt: str, response: str) -> Row:
    return {"prompt": prompt, "response": response}


def numbers_judged(rng: random.Random) -> Row:
    a, b = rng.sample(range(2, 100), 2)
    return rng.choice(
        [
            lambda: _judged(f"is {a} greater than {b}?", a > b),
            lambda: _judged(f"is {a} less than {b}?", a < b),
            lambda: _judged(f"is {a} an even number?", a % 2 == 0),
            lambda: _judged(f"can {a} be divided by {b % 7 + 2} without a remainder?", a % (b % 7 + 2) == 0),
            lambda: _judged(f"does {a} have two digits?", a > 9),
        ]
    )()


def spelling_judged(rng: random.Random) -> Row:
    word, letter = rng.choice(WORDS), rng.choice("abcdeilmnoprstuw")
    other = rng.choice(WORDS)
    return rng.choice(
        [
            lambda: _judged(f"does the word {word} contain the letter {letter}?", letter in word),
            lambda: _judged(f"does the word {word} start with {letter}?", word[0] == letter),
            lambda: _judged(f"is the word {word} longer than the word {other}?", len(word) > len(other)),
            lambda: _judged(f"do {word} and {other} end with the same letter?", word[-1] == other[-1]),
        ]
    )()


def places_judged(rng: random.Random) -> Row:
    country, other = rng.sample(sorted(CAPITALS), 2)
    truth = rng.random() < 0.5
    city = CAPITALS[country if truth else other].replace("_", " ")
    form = rng.choice(
        ["is {city} the capital of {country}?", "is {city} in {country}?", "do you find the city of {city} in {country}?"]
    )
    return _judged(form.format(city=city, country=country), truth)


def kinds_judged(rng: random.Random) -> Row:
    kind, other = rng.sample(sorted(KINDS), 2)
    truth = rng.random() < 0.55
    thing = rng.choice(KINDS[kind if truth else other])
    form = rng.choice(
        ["is {thing} a {kind}?", "is {thing} a kind of {kind}?", "does {thing} count as a {kind}?", "are {thing} and {same} both a {kind}?"]
    )
    return _judged(form.format(thing=thing, kind=kind, same=rng.choice(KINDS[kind])), truth)


def calendar_judged(rng: random.Random) -> Row:
    a, b = rng.sample(range(12), 2)
    return rng.choice(
        [
            lambda: _judged(f"does {MONTHS[a]} come before {MONTHS[b]} in the year?", a < b),
            lambda: _judged(f"is {MONTHS[a]} later in the year than {MONTHS[b]}?", a > b),
            lambda: _judged(f"is there a month between {MONTHS[a]} and {MONTHS[b]}?", abs(a - b) > 1),
        ]
    )()


def _pair(rng: random.Random) -> tuple[str, str]:
    first, second = rng.sample(NAMES, 2)
    return first, second


def amounts_of_two(rng: random.Random) -> Row:
    first, second = _pair(rng)
    a, b = rng.sample(range(2, 60), 2)
    thing = rng.choice("coins stamps marbles books shells tickets".split())
    more = rng.random() < 0.5
    ask = rng.choice(["Please answer the question choosing from [A]/[B].", "Please answer the question choosing from A/B.", ""])
    text = f"{first} has {a} {thing} and {second} has {b} {thing}, so _ has {'more' if more else 'fewer'} {thing}."
    return _chosen(text, [first, second], int((a < b) == more), ask)


# (because-clause about the first, about the second): `_` stands for the one it speaks of.
REASONS = [
    ("{0} carried the bags for {1} because _ was {2}.", "strong", "tired", (0, 1)),
    ("{0} asked {1} for the way because _ {2}.", "was lost in the city", "knew the city well", (0, 1)),
    ("{0} paid back {1} after _ {2}.", "had borrowed some money", "had lent some money", (0, 1)),
    ("{0} taught {1} to swim since _ {2}.", "was a good swimmer", "could not swim yet", (0, 1)),
    ("{0} lost the race against {1} because _ was {2}.", "slower", "faster", (0, 1)),
    ("{0} visited {1} in hospital because _ {2}.", "wanted to be kind", "had broken a leg", (0, 1)),
    ("{0} bought bread from {1} because _ {2}.", "was hungry", "owned the bakery", (0, 1)),
    ("{0} thanked {1} because _ {2}.", "had received a gift", "had brought a gift", (0, 1)),
    ("{0} woke {1} up because _ {2}.", "had been up since dawn", "was late for work", (0, 1)),
    ("{0} lent a coat to {1} as _ {2}.", "owned two coats", "felt cold", (0, 1)),
]


def reasons_of_two(rng: random.Random) -> Row:
    first, second = _pair(rng)
    form, about_first, about_second, _ = rng.choice(REASONS)
    which = rng.randrange(2)
    text = form.format(first, second, (about_first, about_second)[which])
    ask = rng.choice(["Please answer the question choosing from [A]/[B].", "Please answer the question choosing from A/B.", ""])
    return _chosen(text, [first, second], which, ask)


def odd_one_of_three(rng: random.Random) -> Row:
    kind, other = rng.sample(sorted(KINDS), 2)
    options = [rng.choice(KINDS[other]), *rng.sample(KINDS[kind], 2)]
    odd = options[0]
    rng.shuffle(options)
    return _chosen(rng.choice([f"Which of these is no {kind}?", "Which one does not belong with the others?"]), options, options.index(odd))


def capitals_of_four(rng: random.Random) -> Row:
    countries = rng.sample(sorted(CAPITALS), 4)
    right = rng.randrange(4)
    options = [CAPITALS[country].replace("_", " ").title() for country in countries]
    return _chosen(f"Which city is the capital of {countries[right].title()}?", options, right)


def words_rewritten(rng: random.Random) -> Row:
    word, other = rng.sample(WORDS, 2)
    return rng.choice(
        [
            lambda: _free(f"Write the word {word} in capital letters.", word.upper()),
            lambda: _free(f"Write {word} and {other} in alphabetical order.", ", ".join(sorted([word, other]))),
            lambda: _free(f"Spell the word {word} with spaces between its letters.", " ".join(word)),
            lambda: _free(f"Repeat the word {word} three times.", " ".join([word] * 3)),
        ]
    )()


def tone_of_words(rng: random.Random) -> Row:
    good = rng.random() < 0.5
    name, word = rng.choice(NAMES), rng.choice(POSITIVE if good else NEGATIVE)
    form = rng.choice(["What is the tone of this sentence? {name} was {word}.", "{name} met a {word} neighbour. Is this praise or blame?"])
    labels = ("positive", "negative") if form.startswith("What") else ("praise", "blame")
    return _free(form.format(name=name, word=word), labels[0 if good else 1])


def sums_of_four(rng: random.Random) -> Row:
    a, b = rng.sample(range(2, 60), 2)
    sign, value = rng.choice([("+", a + b), ("-", a - b)])
    options = [value, *rng.sample([value + step for step in range(-9, 10) if step], 3)]
    rng.shuffle(options)
    return _chosen(f"What is {a} {sign} {b}?", [str(option) for option in options], options.index(value))


def statements_judged(rng: random.Random) -> Row:
    kind, other = rng.sample(sorted(KINDS), 2)
    country, elsewhere = rng.sample(sorted(CAPITALS), 2)
    truth = rng.random() < 0.5
    thing, city = rng.choice(KINDS[kind if truth else other]), CAPITALS[country if truth else elsewhere].replace("_", " ")
    a, b = rng.sample(range(2, 100), 2)
    return rng.choice(
        [
            lambda: _judged(f"A {thing} is a {kind}.", truth),
            lambda: _judged(f"{city.title()} is the capital of {country.title()}.", truth),
            lambda: _judged(f"{a} is more than {b}.", a > b),
        ]
    )()


def facts_in_words(rng: random.Random) -> Row:
    country, month, word = rng.choice(sorted(CAPITALS)), rng.randrange(12), rng.choice(WORDS)
    kind = rng.choice(sorted(KINDS))
    return rng.choice(
        [
            lambda: _free(f"What is the capital of {country.title()}?", CAPITALS[country].replace("_", " ").title()),
            lambda: _free(f"Which month comes after {MONTHS[month].title()}?", MONTHS[(month + 1) % 12].title()),
            lambda: _free(f"Which month comes before {MONTHS[month].title()}?", MONTHS[month - 1].title()),
            lambda: _free(f"How many letters does the word {word} have?", str(len(word))),
            lambda: _free(f"What is {rng.choice(KINDS[kind])}?", f"a {kind}"),
        ]
    )()


JUDGED = [numbers_judged, spelling_judged, places_judged, kinds_judged, calendar_judged, statements_judged]
CHOSEN = [amounts_of_two, reasons_of_two, odd_one_of_three, capitals_of_four, sums_of_four]


def in_words(row: Row) -> Row:
    """A row to judge or choose by, answered as in a conversation: yes or no, or what the option says."""
    prompt, response = str(row["prompt"]), str(row["response"])
    if response in ("[True]", "[False]"):
        return _free(prompt, "Yes" if response == "[True]" else "No")
    return _free(prompt, next(line[3:] for line in prompt.split("\n") if line.startswith(f"{response[1]}: ")))


def chat_mixed(rng: random.Random) -> Row:
    """Questions of all kinds in one set, as somebody chatting asks them: all answered in words, those with options too."""
    kind = rng.random()
    if kind < 0.3:
        return in_words(rng.choice(JUDGED)(rng))
    if kind < 0.6:
        return in_words(rng.choice(CHOSEN)(rng))
    return rng.choice([facts_in_words, words_rewritten, tone_of_words])(rng)


def scrambled(text: str, rng: random.Random) -> Row | None:
    """A text whose words are to be put in order again; None where their order is not to be seen."""
    words = text.split()
    mixed = rng.sample(words, len(words))
    return None if mixed == words else _free(" ".join(mixed), " ".join(words))


def words_scrambled(rng: random.Random) -> Row:
    while True:
        row = rng.choice([*JUDGED, *CHOSEN, facts_in_words])(rng)
        if made := scrambled(str(row["prompt"]), rng):
            return made


FAMILIES: dict[str, Callable[[random.Random], Row]] = {
    "numbers-judged": numbers_judged,
    "spelling-judged": spelling_judged,
    "places-judged": places_judged,
    "kinds-judged": kinds_judged,
    "calendar-judged": calendar_judged,
    "amounts-of-two": amounts_of_two,
    "reasons-of-two": reasons_of_two,
    "odd-one-of-three": odd_one_of_three,
    "capitals-of-four": capitals_of_four,
    "words-rewritten": words_rewritten,
    "tone-of-words": tone_of_words,
    "sums-of-four": sums_of_four,
    "statements-judged": statements_judged,
    "facts-in-words": facts_in_words,
    "chat-mixed": chat_mixed,
    "words-scrambled": words_scrambled,
}


def make_family(name: str, rows: int, seed: int = 0) -> list[Row]:
    """Up to `rows` distinct rows of a family, the same for a seed; as many true as false ones where it is judged."""
    rng = random.Random(f"{name}/{seed}")
    made: dict[str, Row] = {}
    left = dict.fromkeys(("[True]", "[False]"), rows // 2)
    for _ in range(rows * 12):
        row = FAMILIES[name](rng)
        response = str(row["response"])
        if str(row["prompt"]) in made or left.get(response, 1) == 0:
            continue
        made[str(row["prompt"])] = row
        if response in left:
            left[response] -= 1
        if len(made) == rows:
            break
    # Where there are fewer of one label than asked for, the other has as many too many.
    over = {response: max(left.values()) - count for response, count in left.items()}
    kept = []
    for row in made.values():
        if over.get(str(row["response"]), 0) > 0:
            over[str(row["response"])] -= 1
        else:
            kept.append(row)
    return kept
