"""Words that the programmatic tasks are made of, by kind; written for this recipe."""

from __future__ import annotations

# Kinds of things; no word is in two of them.
KINDS: dict[str, list[str]] = {
    name: words.split()
    for name, words in {
        "animal": (
            "tiger horse rabbit camel otter badger donkey wolf beaver panther goat squirrel hamster leopard moose walrus zebra "
            "hedgehog buffalo lizard gorilla hyena jackal kangaroo"
        ),
        "bird": "eagle sparrow owl heron pigeon falcon robin swan parrot stork raven puffin pelican magpie cuckoo flamingo",
        "fruit": "apple pear mango banana cherry plum peach grape lemon apricot melon papaya raspberry blueberry fig coconut",
        "vegetable": "carrot potato onion cabbage spinach leek turnip celery pumpkin radish lettuce broccoli parsnip garlic",
        "drink": "tea coffee juice cider cocoa lemonade water milk wine beer whisky soda",
        "clothing": "jacket scarf glove sweater trousers shirt sock dress coat apron vest skirt mitten pyjamas",
        "vehicle": "bus bicycle train truck tram ferry scooter van taxi tractor canoe helicopter yacht ambulance",
        "tool": "hammer saw chisel drill wrench ladder shovel rake pliers screwdriver axe spade trowel crowbar",
        "furniture": "table chair sofa bench wardrobe shelf desk stool cupboard bed armchair bookcase",
        "instrument": "piano violin flute drum trumpet cello harp guitar clarinet banjo oboe accordion",
        "metal": "iron copper gold silver zinc nickel tin lead bronze steel brass platinum",
        "colour": "red blue green purple brown white grey pink yellow black turquoise scarlet",
        "job": "nurse baker teacher pilot farmer lawyer dentist plumber tailor butcher gardener librarian carpenter chemist",
        "country": "France Kenya Peru Norway Japan Egypt Chile Poland Cuba Ghana Nepal Canada Greece Vietnam Finland Brazil",
        "body part": "elbow knee shoulder ankle wrist thumb chin forehead heel neck eyebrow toe",
        "building": "castle school hospital museum church barn library temple factory stadium prison cottage",
        "material": "wool paper glass cotton leather plastic rubber silk marble cement wax linen",
        "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    }.items()
}
# Fours of kinds that lists of four are made of, one word of each in any order.
FOURS = (
    ("animal", "fruit", "clothing", "vehicle"),
    ("bird", "tool", "country", "drink"),
    ("colour", "job", "furniture", "vegetable"),
    ("instrument", "metal", "body part", "building"),
    ("material", "weekday", "animal", "tool"),
)
VERBS = (
    "walk jump paint open close clean cook call answer visit watch listen follow carry copy study marry try play stay enjoy push pull "
    "wash mix fix finish reach touch teach catch miss pass dance bake smile move love use save close hope share vote stop plan drop "
    "grab clap hug rob ship trim join help want need start end print sort count pack check order request cancel repair deliver collect "
    "remember explain discuss describe invent measure polish reserve rescue"
).split()
IRREGULAR_PAST = {"teach": "taught", "catch": "caught"}
ADJECTIVES = (
    "happy quiet small tall bright heavy cold warm dark soft smooth narrow wide deep short long clean rich poor young old quick slow "
    "calm brave proud gentle clever simple rare plain fresh sweet bitter loud sharp dull cheap strong weak thick thin round dry wet "
    "rough lonely sleepy noisy dusty rainy sunny windy"
).split()
NOUNS = (
    "river window garden stone market bridge letter pencil summer winter forest island mirror basket butter carpet circle engine "
    "feather kitchen lantern magnet needle ocean pepper saddle ticket umbrella velvet wagon anchor button cactus desert flower "
    "harbour journal kettle lamp mountain napkin orchard pillow quilt ribbon signal tunnel valley whistle blanket candle dragon "
    "envelope fountain glacier hallway iceberg jungle keyboard ladybird medal notebook oven parcel quarry rocket sandwich teapot "
    "uniform village waterfall yard bucket camera diamond elevator fence guitarist hammock invoice jar kite locker marble nest "
    "office package question receipt station telescope urn vase wallet zipper balloon cradle doorbell eraser folder goblet helmet"
).split()
ALL_WORDS = tuple(
    dict.fromkeys(
        word
        for words in (*(words for kind, words in KINDS.items() if kind not in ("weekday", "country")), VERBS, ADJECTIVES, NOUNS)
        for word in words
    )
)
FIRST_NAMES = (
    "Anna Ben Carla David Elena Farid Grace Hugo Irene Jonas Kira Liam Maya Nora Omar Paula Quinn Rosa Sven Tara Umar Vera Wanda "
    "Yusuf Zoe Amir Bella Clara Dario Emil"
).split()
LAST_NAMES = (
    "Weber Costa Novak Haddad Silva Berg Moreno Olsen Kaya Duarte Fischer Grant Hansen Iversen Jansen Keller Lopez Meyer Nilsen "
    "Okafor Perez Quist Rossi Santos Tanaka Unger Varga Walker Young Ziegler"
).split()
CITIES = (
    "Lyon Bergen Porto Krakow Leeds Turin Ghent Malmo Seville Graz Basel Cork Tampere Odense Bilbao Dresden Utrecht Split Varna Riga "
    "Nantes Brno Verona Aarhus"
).split()
MONTHS = "January February March April May June July August September October November December".split()

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(number: int) -> str:
    """A number below 10,000 in English words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    size, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = number % size
    return f"{in_words(number // size)} {name}" + (f"{' and' if rest < 100 else ''} {in_words(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """1 -> 1st."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _doubles(verb: str) -> bool:
    return verb in ("stop", "plan", "drop", "grab", "clap", "hug", "rob", "ship", "trim")


def past(verb: str) -> str:
    if verb in IRREGULAR_PAST:
        return IRREGULAR_PAST[verb]
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ied"
    return verb + (verb[-1] if _doubles(verb) else "") + "ed"


def progressive(verb: str) -> str:
    if verb.endswith("e"):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if _doubles(verb) else "") + "ing"


def third_person(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "sh", "ch", "x")) else "s")


def plural(noun: str) -> str:
    """The regular plural, which all of NOUNS have."""
    if noun.endswith("y") and noun[-2] not in "aeou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


def comparative(adjective: str) -> str:
    return _graded(adjective, "er")


def superlative(adjective: str) -> str:
    return _graded(adjective, "est")


def _graded(adjective: str, ending: str) -> str:
    if adjective.endswith("e"):
        return adjective + ending[1:]
    if adjective.endswith("y"):
        return adjective[:-1] + "i" + ending
    double = adjective in ("thin", "wet")
    return adjective + (adjective[-1] if double else "") + ending
