"""A data folder of tasks like the public one, with a few rows of our own in each file."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

from recipe.tasks.public import FUNCTION_VECTORS, INSTRUCTION_INDUCTION, SLOTS, UNSEEN_DOMAINS

FIRST = "red blue small tall warm loud old new wet dry calm proud".split()
SECOND = "river lamp horse garden pencil window island mirror basket engine".split()


def write_excerpts(folder: Path, rows_an_intent: int = 60) -> Path:
    pairs = [f"{one} {two}" for one, two in product(FIRST, SECOND)]
    write = lambda path, value: (path.parent.mkdir(parents=True, exist_ok=True), path.write_text(json.dumps(value)))
    for name in FUNCTION_VECTORS:
        write(folder / "function-vectors" / f"{name}.json", [{"input": text, "output": text.split()[0]} for text in pairs])
    for name in INSTRUCTION_INDUCTION:
        answer = ", ".join if name == "taxonomy_animal" else lambda words: words[1]
        examples = {str(i): {"input": ", ".join(text.split()), "output": answer(text.split()[::-1])} for i, text in enumerate(pairs, 1)}
        for part in ("induce", "execute"):
            write(folder / "instruction-induction" / part / f"{name}.json", {"metadata": {}, "examples": examples})
        write(folder / "instruction-induction" / "instructions" / f"{name}.json", {"annotations": [f"Do {name}.", f"please do {name}", f"Do {name}."]})
    domains = {domain: [f"{domain}_{number}" for number in range(7)] for domain in (*UNSEEN_DOMAINS, "banking", "home")}
    texts = lambda intent, part, count: [[f"{part} {number} about {intent}", intent] for number in range(count)]
    intents = [intent for one in domains.values() for intent in one]
    parts = {part: [row for intent in intents for row in texts(intent, part, rows_an_intent)] for part in ("train", "val", "test")}
    write(folder / "clinc150" / "domains.json", domains)
    write(folder / "clinc150" / "data_full.json", parts)
    banking = folder / "polyai" / "banking_data"
    banking.mkdir(parents=True)
    for part in ("train", "test"):
        rows = [row for number in range(8) for row in texts(f"topic_{number}", part, rows_an_intent)]
        (banking / f"{part}.csv").write_text("text,category\n" + "".join(f'"{text}, please",{intent}\n' for text, intent in rows))
    for place, slots in SLOTS.items():
        spans = []
        for slot in slots:
            for number in range(250):
                said = f"{slot.replace('_', ' ')} number {number} of {place}"
                spans.append({"userInput": {"text": f"{said}, please"}, "labels": [{"slot": slot, "valueSpan": {"endIndex": len(said)}}]})
        spans += [{"userInput": {"text": f"nothing {number} here in {place}"}} for number in range(250)]
        for part, rows in (("train_0", spans[::2]), ("test", spans[1::2])):
            write(folder / "polyai" / "span_extraction" / place / f"{part}.json", rows)
    return folder
