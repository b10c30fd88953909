"""Writes reference.json.gz: tokenizer files of the common kinds, hostile strings, and what the library tokenizers makes of them.

    python test/tokenizer/make_reference.py

Needs Python with tokenizers, transformers, sentencepiece and protobuf. The vocabularies are small and trained here on
strings of this file; everything else is as published tokenizers have it. The file is committed, so tests need none of it.
"""

import gzip
import io
import json
import pathlib
import random

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
BERT = HERE.parents[1] / "src" / "models" / "bert-uncased" / "tokenizer.json"

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
DEEPSEEK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"

PLAIN = """
The quick brown fox jumps over the lazy dog. What is 12.5% of 3,400? It's not what they'd said, we'll see; I'm done!
def main(argv):\n    return {"a": [1, 2, 3], 'b': None}  # comment\n
Falsches Üben von Xylophonmusik quält jeden größeren Zwerg. Straße, STRASSE, ẞ. Le cœur déçu mais l'âme plutôt naïve.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΑΣ ΟΔΥΣΣΕΥΣ Σίσυφος.
いろはにほへと ちりぬるを 色は匂へど 散りぬるを。 カタカナ ｶﾀｶﾅ ﾊﾞ 我能吞下玻璃而不伤身体。 키스의 고유조건은 입술끼리 만나야 하고.
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. דג סקרן שט בים מאוכזב ולפתע מצא לו חברה. เป็นมนุษย์สุดประเสริฐเลิศคุณค่า
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण. தமிழ் மொழி. Việt Nam đất nước ta. İstanbul'da ılık ışık. ǅungla ǆ Ǆ ŉ
""".strip().split("\n")


def hostile_strings():
    texts = ["", " ", "  ", "\n", "\t", "\r\n", "\r", "a", "A", " a", "a ", " a ", "  a  b  ", "a\nb", "a\r\nb\r\n", "\n\n\n"]
    texts += PLAIN
    # White space and controls, alone and between letters.
    odd = [0, 1, 8, 9, 0xB, 0xC, 0x1F, 0x7F, 0x80, 0x85, 0x8F, 0x9F, 0xA0, 0xAD, 0x1680, 0x180E, 0x2000, 0x200A, 0x200B, 0x200C]
    odd += [0x200D, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202E, 0x202F, 0x205F, 0x2060, 0x2066, 0x3000, 0xFEFF, 0xFFF9]
    odd += [0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0xE000, 0xF8FF, 0xF0000, 0x10FFFD, 0x10FFFF, 0x1FFFE, 0x378, 0xE0001, 0xE0041, 0x1BCA0]
    for point in odd:
        texts += [chr(point), f"a{chr(point)}b {chr(point)} c"]
    # Ideographs at the edges of BERT's ranges.
    edges = [0x33FF, 0x3400, 0x4DBF, 0x4DC0, 0x4E00, 0x9FFF, 0xF900, 0xFAFF, 0xFB00, 0x20000, 0x2A6DF, 0x2A6E0, 0x2A700]
    edges += [0x2B73F, 0x2B740, 0x2B81F, 0x2B820, 0x2B850, 0x2B91F, 0x2B920, 0x2CEAF, 0x2CEB0, 0x2F800, 0x2FA1F, 0x30000, 0x31350]
    texts += [f"a{chr(point)}b" for point in edges]
    # Marks: composed, decomposed, stacked, out of order, newer than the library's tables.
    marks = ["e\u0301", "é", "E\u0301", "a\u0308\u0301", "a\u0301\u0308", "q\u0307\u0323", "q\u0323\u0307", "\u0301", " \u0301x", "a\u0345\u0301"]
    marks += ["ḍ\u0307", "ế", "e\u0302\u0301", "Å", "\u212b", "A\u030a", "Ω", "\u2126", "각", "\u1100\u1161\u11a8", "ｶﾞ", "が", "か\u3099", "\u0f73\u0f72"]
    marks += ["a\u0897b", "a\u1acfb", "\u105d2\u0307", "\U000105d2\u0307", "\U00011382\U000113c9", "a\u1dfab", "a\u20f0b", "\u0c3c\u0c4d", "a\u08cab"]
    marks += ["ﬁ", "ﬁ\u0301", "²³¹¼½¾①⑳㉈㋿℻™ℌ", "ſt ﬆ ß ẞ SS ŉ ǰ ΐ İ ı i\u0307", "ＡＢＣ１２３！", "㌔㍿", "ﷺ", "\u1e9b\u0323", "𝐀𝒜𝔸", "\ua7f2\ua7f3\ua7f4", "\U0001ccd6\U0001ccf0"]
    texts += marks
    # Case: final sigma, dotted i, letters without a partner, cases of newer letters.
    texts += ["ΑΣ", "ΑΣ Β", "ΑΣ.", "Σ", "ΣΣ", "aΣ\u0301", "ὈΔΥΣΣΕΎΣ", "İİ", "Iı", "ǅ", "ꭰᏸ", "Ა", "\U00010400\U00010428", "\ua7cb\ua7da", "ÅÄÖ", "ΆΣΟΣ ΣΑΣ-ΣΑΣ"]
    # Words, marks and digits.
    texts += ["don't can't I'll you'Re we'VE 'ſ 'ſs it'ſ K's \u212a 'tis", "a.b,c;d:e!f?g", "...", "—–-−‐", "«»“”‘’", "$€£¥₿₪", "a_b__c", "1234567890", "12½ ⅷ Ⅷ ௧௨ ٣٤ ߉"]
    texts += ["x=1;y+=2", "C++ C# F#", "<|endoftext|>", "[CLS] [SEP] [PAD][MASK] [UNK]", "<s></s><pad><unk><mask>", " <mask> x", "x<mask>y", "<extra_id_0>", "<|im_start|>user", "a[MASK]b [MASK] .", "[mask]", "</s", "\u2581a\u2581\u2581b", "Ġa Ċ", "<0x41>", "##ing"]
    texts += ["़क्षि", "क्‍ष", "നിങ്ങൾ", "กำ", "ཨོཾ", "မြန်မာ", "ខ្មែរ", "א\u05b8ב\u05bc", "\u0627\u064e\u0651", "ﺎﺏ", "\u202eabc\u202c", "ᠮᠣᠩᠭᠣᠯ", "ⵣ", "ꙮ", "𒀀", "𐍈"]
    # Emoji: families, flags, tags, skin, keycaps.
    texts += ["👍", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪🇫", "🏴\U000e0067\U000e0062\U000e007f", "1️⃣", "❤️‍🔥", "🫠🫨🪿", "☺︎", "©️®", "a👍b", "🧑🏿‍🚀!"]
    # Long words, runs and repetitions.
    texts += ["x" * 99, "x" * 100, "x" * 101, "é" * 101, "😀" * 100, "中" * 120, "ab" * 300, " " * 300, "\n" * 120, "." * 200, "1" * 150, "a " * 150, "e\u0301" * 60, "\u0301" * 50]
    texts += ["antidisestablishmentarianism" * 3, "Donaudampfschifffahrtsgesellschaftskapitän", "https://example.org/a/b?c=d&e=f#g", "foo@bar.example", "/usr/lib/x.so.6", "0x1F600", "1e-5", "3.14159", "2026-11-26T12:00:00Z"]
    texts += [" \t\n\x0b\x0c\r\x85\xa0\u2003x", "x\u00a0y", "x\u3000y", "x\u2028y", "tab\there", "  two  spaces ", "trailing   ", "\n leading", "a\u200db", "``quoted'' text", "''", "a  `` b ''"]
    rng = random.Random(20)
    alphabet = [c for line in PLAIN for c in line] + [chr(point) for point in odd + edges] + list("'’ſ 　\n\u0301\u0308\u0323\u200d①ﬁΣ")
    for _ in range(140):
        texts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(2, 24))))
    planes = [(0x80, 0x250), (0x300, 0x36F), (0x590, 0x700), (0x900, 0xE00), (0x1100, 0x1200), (0x1AB0, 0x1B00), (0x1DC0, 0x1E00)]
    planes += [(0x1E00, 0x2000), (0x2000, 0x2C00), (0x3000, 0x3400), (0xA640, 0xAC00), (0xF900, 0xFFFF), (0x10000, 0x12000), (0x1D000, 0x1FB00)]
    for first, last in planes * 8:
        texts.append("".join(chr(rng.randrange(first, last)) if rng.random() < 0.7 else rng.choice("aB 1.") for _ in range(12)))
    return list(dict.fromkeys(texts))


def corpus():
    return PLAIN * 3


def unigram():
    """A SentencePiece model trained here, for its table of replacements and its vocabulary."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PLAIN * 20),
        model_writer=model,
        vocab_size=420,
        character_coverage=0.98,
        normalization_rule_name="nmt_nfkc",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto.FromString(model.getvalue())
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces]
    return vocabulary, proto.normalizer_spec.precompiled_charsmap


def byte_level(pre_tokenizer, normalizer=None, add_prefix_space=False, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=700, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def split(pattern):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def word_piece(normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def of_unigram(vocabulary, normalizer, pre_tokenizer, **model):
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, **model))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return tokenizer


def make_tokenizers():
    vocabulary, charsmap = unigram()
    precompiled = lambda: normalizers.Precompiled(charsmap)
    metaspace = pre_tokenizers.Metaspace
    yield "bert-cased", word_piece(normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer())
    yield "bert-in-sequence", word_piece(
        normalizers.Sequence([normalizers.NFC(), normalizers.BertNormalizer(strip_accents=True)]), pre_tokenizers.BertPreTokenizer()
    )
    yield "wordpiece-whitespace", word_piece(
        normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]), pre_tokenizers.Whitespace()
    )
    roberta = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    roberta.add_special_tokens(["<s>", "</s>", "<pad>", AddedToken("<mask>", lstrip=True)])
    roberta.add_tokens([AddedToken("fox jumps", single_word=True), AddedToken("Straße", rstrip=True)])
    roberta.post_processor = processors.RobertaProcessing(
        ("</s>", roberta.token_to_id("</s>")), ("<s>", roberta.token_to_id("<s>"))
    )
    yield "roberta", roberta
    yield "gpt2-prefix-space", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    qwen = byte_level(split(QWEN), normalizers.NFC())
    qwen.add_special_tokens(["<|im_start|>"])
    yield "qwen2", qwen
    llama3 = byte_level(split(LLAMA3), ignore_merges=True)
    llama3.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]),
        ]
    )
    yield "llama3", llama3
    yield "o200k", byte_level(split(O200K))
    yield "deepseek", byte_level(split(DEEPSEEK + r"|\s*[\r\n]+|\s+(?!\S)|\s+"))
    yield "modernbert", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizers.NFC())

    llama2 = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bytes_and_unknown = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    llama2.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama2.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=600, special_tokens=bytes_and_unknown, show_progress=False, limit_alphabet=60)
    )
    # As published: what the trainer took for special are pieces of the vocabulary.
    fields = json.loads(llama2.to_str())
    fields["added_tokens"] = fields["added_tokens"][:3]
    yield "llama2", Tokenizer.from_str(json.dumps(fields))
    fields["model"]["byte_fallback"] = False
    fields["normalizer"] = None
    fields["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    yield "metaspace-first", Tokenizer.from_str(json.dumps(fields))
    fields["model"]["fuse_unk"] = False
    fields["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    yield "metaspace-older", Tokenizer.from_str(json.dumps(fields))
    clip = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    clip.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    clip.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    clip.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False)
    )
    yield "clip", clip

    yield "xlm-roberta", of_unigram(
        vocabulary, precompiled(), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace(prepend_scheme="always")])
    )
    yield "t5", of_unigram(vocabulary, precompiled(), metaspace(prepend_scheme="always"))
    albert = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents()]
    albert += [normalizers.Lowercase(), precompiled(), normalizers.Replace(Regex(" {2,}"), " ")]
    yield "albert", of_unigram(vocabulary, normalizers.Sequence(albert), metaspace(prepend_scheme="always"))
    deberta = [normalizers.Strip(), precompiled(), normalizers.Replace(Regex(" {2,}"), "▁")]
    yield "deberta-v2", of_unigram(vocabulary, normalizers.Sequence(deberta), metaspace(prepend_scheme="always"))
    filled = vocabulary + [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    yield "unigram-bytes", of_unigram(filled, precompiled(), metaspace(prepend_scheme="always"), byte_fallback=True)
    yield "unigram-without-spaces", of_unigram(vocabulary, None, None)


# Parts that are compared alone, with what they do to each string.
def parts():
    isolated = lambda pattern, behavior, invert=False: pre_tokenizers.Split(pattern, behavior, invert)
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer"):
        yield getattr(normalizers, form)()
    for left, right in ((True, False), (False, True), (True, True)):
        yield normalizers.Strip(left, right)
    yield normalizers.BertNormalizer(False, True, None, False)
    yield normalizers.BertNormalizer(True, False, True, False)
    yield normalizers.Replace(Regex(r"[^\s\p{L}]+|\d"), "·")
    yield normalizers.Precompiled(unigram()[1])
    for part in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Digits", "Punctuation"):
        yield getattr(pre_tokenizers, part)()
    yield pre_tokenizers.Digits(individual_digits=True)
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        yield pre_tokenizers.Punctuation(behavior)
        yield isolated(" ", behavior)
        yield isolated(Regex(r"\p{Lu}|[\p{M}\p{P}a-f]"), behavior)
        yield isolated(Regex(r"\p{Lu}|[\p{M}\p{P}a-f]"), behavior, True)
    yield pre_tokenizers.CharDelimiterSplit("a")
    for pattern in (QWEN, LLAMA3, O200K, DEEPSEEK):
        yield isolated(Regex(pattern), "isolated")
    for scheme in ("always", "first", "never"):
        for splits in (True, False):
            yield pre_tokenizers.Metaspace("▁", scheme, splits)
    yield pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits()])


def result_of(part, text):
    if isinstance(part, normalizers.Normalizer):
        return part.normalize_str(text)
    return [piece for piece, _ in part.pre_tokenize_str(text)]


def config_of(part):
    tokenizer = Tokenizer(models.BPE())
    kind = "normalizer" if isinstance(part, normalizers.Normalizer) else "pre_tokenizer"
    setattr(tokenizer, kind, part)
    return kind, json.loads(tokenizer.to_str())[kind]


def shared(value, tables):
    """The value with each table of replacements, which is large and comes again and again, as `table N` of a list."""
    if isinstance(value, dict):
        return {key: shared(item, tables) for key, item in value.items()}
    if isinstance(value, list):
        return [shared(item, tables) for item in value]
    if not isinstance(value, str) or len(value) < 10000:
        return value
    if value not in tables:
        tables.append(value)
    return f"table {tables.index(value)}"


def main():
    texts = hostile_strings()
    written = {"tokenizers": tokenizers.__version__, "texts": texts, "files": [], "parts": []}
    for name, tokenizer in [("bert-uncased", Tokenizer.from_file(str(BERT))), *make_tokenizers()]:
        ids = [tokenizer.encode(text).ids for text in texts]
        content = None if name == "bert-uncased" else json.loads(tokenizer.to_str())
        written["files"].append({"name": name, "content": content, "ids": ids})
    for part in parts():
        kind, config = config_of(part)
        written["parts"].append({"kind": kind, "config": config, "results": [result_of(part, text) for text in texts]})
    tables = []
    written = {**shared(written, tables), "tables": tables}
    packed = gzip.compress(json.dumps(written).encode(), 9, mtime=0)
    (HERE / "reference.json.gz").write_bytes(packed)
    print(f"{len(texts)} texts, {len(written['files'])} files, {len(written['parts'])} parts, {len(packed)} bytes")


main()
