"""
`export`: what `loradrop import` takes: decoder, encoder, layout, evaluation; and the check of the imported bundle. Of a generator of
bases, its graphs, as bundles of version 2 have them.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from .bases_graph import write_bases
from .encoder_graph import write_encoder
from .evaluate import SUBJECTS
from .generator import Generator
from .report import protocol, table
from .run import Run


def export(run: Run, generator_file: str, results: dict | None, out: Path) -> None:
    """
    Writes `decoder.safetensors` (or the graphs of bases and `generator.json`, which names them), `encoder/`, `layout.json` and, with
    results, `evaluation.json` and the model card into `out`.
    """
    generator, about = Generator.load(run.work / generator_file, run.base)
    out.mkdir(parents=True, exist_ok=True)
    if generator.settings.kind == "bases":
        shape = generator.settings
        files = write_bases(generator.decoder, shape.prompts, shape.tokens, out)
        condition = {"prompts": shape.prompts, "tokens": shape.tokens, "width": shape.width, "pooling": "none"}
        # Adapters of upper layers alone name the first of them.
        facts = {"family": "bases", "condition": condition, **files, "firstLayer": generator.layout.layers.start}
        facts["parameters"] = sum(weight.numel() for weight in generator.decoder.parameters())
        (out / "generator.json").write_text(json.dumps(facts, indent=2) + "\n")
    else:
        state = {name: value.cpu().contiguous() for name, value in generator.decoder.published_state().items()}
        save_file(state, out / "decoder.safetensors", {"step": str(about["step"])})
    write_encoder(run.text_encoder, out / "encoder")
    (out / "layout.json").write_text(generator.layout.to_json(run.settings.base_id) + "\n")
    if results:
        card = Path(run.settings.card).read_text() if run.settings.card else None
        if card:
            (out / "MODEL_CARD.md").write_text(card.format(**_facts(run, generator, results)))
        (out / "evaluation.json").write_text(json.dumps(evaluation_rows(results), indent=1) + "\n")


def _facts(run: Run, generator: Generator, results: dict) -> dict:
    """What a card's template may name in braces."""
    one = next(iter(results["sets"].values()))
    return {
        **asdict(generator.settings),
        "train": asdict(run.settings.train),
        "base_id": run.settings.base_id,
        "targets": ", ".join(run.layout.modules),
        "features": " ".join(str(feature) for feature in getattr(generator.decoder, "features", [])),
        "parameters": sum(weight.numel() for weight in generator.decoder.parameters()),
        "max_rows": run.settings.max_rows,
        "training_sets": ", ".join(one["training_sets"]),
        "protocol": protocol(results),
        "tables": "\n".join(line for name, one in results["sets"].items() for line in table(name, one, level=3)).strip(),
    }


def evaluation_rows(results: dict) -> dict:
    """The evaluation as `bundle.json` holds it."""
    rows = []
    for name, one in results["sets"].items():
        for subject in SUBJECTS:
            entry = one["subjects"].get(subject)
            for metric, key in (("answer-nll", "nll"), ("accuracy", "accuracy")):
                if not entry or key not in entry:
                    continue
                row = {"dataset": name, "metric": metric, "subject": subject}
                row |= {part: round(value, 5) for part, value in entry[key].items()}
                row["items"] = one["items"]
                if "adapters" in entry:
                    row["draws"] = entry["adapters"]
                    if metric == "answer-nll" and "nll_deviation" in entry:
                        row["deviation"] = round(entry["nll_deviation"], 5)
                rows.append(row)
    return {"protocol": protocol(results), "rows": rows}


def agree(run: Run, generator_file: str, bundle: Path, loradrop: list[str]) -> float:
    """
    Generates from the same prompts with the imported bundle and here, and returns the largest difference of any LoRA
    matrix, relative to the matrix's largest magnitude.
    """
    generator, _ = Generator.load(run.work / generator_file, run.base)
    worst = 0.0
    for name in run.settings.held_out:
        prompts = [row["prompt"] for row in random.Random(name).sample(run.sets[name].train, generator.settings.prompts)]
        ours = generator.layout.to_state(generator.chunks(run.text_encoder(prompts, full=True)).cpu())
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "prompts.jsonl"
            file.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
            target = Path(folder) / "adapter"
            command = [*loradrop, "generate", "--bundle", str(bundle), "--prompts", str(file), "--out", str(target)]
            subprocess.run([*command, "--dtype", "f32"], check=True, stdout=subprocess.DEVNULL)
            theirs = load_file(next(target.rglob("adapter_model.safetensors")))
        if theirs.keys() != ours.keys():
            raise SystemExit("The bundle's adapter has other matrices than the generator's.")
        for tensor, value in ours.items():
            worst = max(worst, ((value - theirs[tensor]).abs().max() / value.abs().max()).item())
    return worst
