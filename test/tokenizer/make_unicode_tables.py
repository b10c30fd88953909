"""Writes src/tokenizer/unicode-tables.ts: which characters the library tokenizers takes for what.

    python test/tokenizer/make_unicode_tables.py

Needs Python with tokenizers, and Node 24; takes a minute. Every character is put before the library itself, since its parts know
different versions of Unicode, none of them the one of Node.
"""

import json
import pathlib
import subprocess

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

TARGET = pathlib.Path(__file__).parents[2] / "src" / "tokenizer" / "unicode-tables.ts"
CHARACTERS = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def where(holds):
    return [ord(character) for character in CHARACTERS if holds(character)]


def normalized(normalizer, wrap="{}"):
    return lambda character: normalizer.normalize_str(wrap.replace("{}", character))


def pieces(pre_tokenizer):
    return lambda character: len(pre_tokenizer.pre_tokenize_str(f"a{character}a"))


def bert(**on):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, **on})


# Prints, by code point, what Node makes of every character alone, and of it behind a mark that almost all others come before.
NODE = """
const found = [];
for (let point = 0; point < 0x110000; point++) {
  if (point >= 0xd800 && point <= 0xdfff) continue;
  const character = String.fromCodePoint(point);
  const all = [character.normalize('NFD'), character.normalize('NFKD'), ('a\\u0345' + character).normalize('NFD')];
  found.push(all);
}
process.stdout.write(JSON.stringify(found));
"""


def unknown_to_normalization():
    """Characters of which Node's normalization knows more than the library's.

    Their decomposition, their place among combining marks, or what they compose to.
    """
    node = json.loads(subprocess.run(["node", "-e", NODE], check=True, capture_output=True, text=True).stdout)
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    found = set()
    for character, (decomposed, compatible, mixed) in zip(CHARACTERS, node, strict=True):
        if nfkd.normalize_str(character) != compatible or nfd.normalize_str(f"a\u0345{character}") != mixed:
            found.add(ord(character))
        if nfd.normalize_str(character) != decomposed:
            # Its parts are what would be composed to it.
            found |= {ord(character), ord(decomposed[0])}
    return found


def tables():
    clean = normalized(bert(clean_text=True), "a{}a")
    yield "removed", "Control characters that BERT's clean-up removes.", where(lambda c: clean(c) == "aa")
    ideographs = normalized(bert(handle_chinese_chars=True))
    yield "ideograph", "Ideographs that BERT sets apart.", where(lambda c: ideographs(c) != c)
    accents = normalized(bert(strip_accents=True), "a{}")
    nfd = normalized(normalizers.NFD())
    yield "accent", "Marks that BERT strips.", where(lambda c: nfd(c) == c and accents(c) == "a")
    marks = normalized(normalizers.StripAccents(), "a{}")
    yield "mark", "Marks that the normalizer StripAccents strips.", where(lambda c: marks(c) == "a")
    space = pieces(pre_tokenizers.WhitespaceSplit())
    yield "space", "White space.", where(lambda c: space(c) == 2)
    punctuation = pieces(pre_tokenizers.Punctuation())
    yield "punctuation", "Punctuation of the pre-tokenizers Punctuation and BertPreTokenizer.", where(
        lambda c: punctuation(c) == 3
    )
    numeric = pieces(pre_tokenizers.Digits(True))
    yield "numeric", "What the pre-tokenizer Digits splits off.", where(lambda c: numeric(c) == 3)
    word = pieces(pre_tokenizers.Whitespace())
    yield "word", "Parts of words of the pre-tokenizer Whitespace, and of added tokens.", where(lambda c: word(c) == 1)
    for name in ("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "Nd", "P", "S"):
        property_of = normalized(normalizers.Replace(Regex(f"\\p{{{name}}}"), ""))
        yield name, f"\\\\p{{{name}}} of regular expressions.", where(lambda c: property_of(c) == "")
    unknown = unknown_to_normalization()
    yield "unnormalized", "Characters newer than the library's normalization.", unknown


def ranges(points):
    found = []
    for point in sorted(points):
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return found


def base36(number):
    text = ""
    while number or not text:
        number, rest = divmod(number, 36)
        text = DIGITS[rest] + text
    return text


def encode(points):
    """Each range as the gap before it and, unless it is one character, its further length: `2p.a 1`."""
    parts, end = [], 0
    for first, last in ranges(points):
        parts.append(base36(first - end) + (f".{base36(last - first)}" if last > first else ""))
        end = last + 1
    return " ".join(parts)


def main():
    lines = [
        f"/** Characters by what the library tokenizers {tokenizers.__version__} takes them for. Made by",
        " * `test/tokenizer/make_unicode_tables.py`; `code-points.ts` reads it. */",
        "export const UNICODE_TABLES = {",
    ]
    for name, meaning, points in tables():
        lines += [f"  /** {meaning} */", f"  {name}: '{encode(points)}',"]
    lines.append("} as const;")
    TARGET.write_text("\n".join(lines) + "\n")


main()
