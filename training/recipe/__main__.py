"""`python -m recipe COMMAND SETTINGS.json`: the four commands of the recipe, each of which goes on where it was interrupted."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from .collect import collect
from .evaluate import evaluate
from .export import agree, export
from .report import write_report
from .run import Run
from .train import train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipe", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument("settings", type=Path, help="JSON file of the run, see training/README.md")
        one.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
        return one

    command("collect", "Tune a LoRA of the base on every data set, and multi-task LoRAs to compare with.")
    one = command("train", "Train generators: one without all held-out sets, and a fold without each of them.")
    one.add_argument("--only", help="one of them: reconstruction, generator or fold-<set>")
    one = command("evaluate", "Judge generated adapters on the held-out sets.")
    one.add_argument("--generator", help="one file of the run for all sets, for example generator.pt (default: the folds)")
    one.add_argument("--out", type=Path, required=True, help="folder for evaluation.json, EVALUATION.md and plots")
    one = command("export", "Write what `loradrop import` takes.")
    one.add_argument("--generator", default="generator.pt", help="file of the run (default: %(default)s)")
    one.add_argument("--evaluation", type=Path, help="evaluation.json of this generator, for the bundle to carry")
    one.add_argument("--out", type=Path, required=True, help="folder to write")
    one = command("agree", "Compare an imported bundle's adapters with PyTorch's.")
    one.add_argument("--generator", default="generator.pt")
    one.add_argument("--bundle", type=Path, required=True)
    one.add_argument("--loradrop", default="npx loradrop", help="how to call it (default: %(default)s)")

    options = parser.parse_args()
    run = Run(options.settings, options.device)
    match options.command:
        case "collect":
            collect(run)
        case "train":
            train(run, options.only)
        case "evaluate":
            results = evaluate(run, options.generator, options.out / "evaluation.json")
            print(write_report(results, options.out))
        case "export":
            results = json.loads(options.evaluation.read_text()) if options.evaluation else None
            export(run, options.generator, results, options.out)
        case "agree":
            worst = agree(run, options.generator, options.bundle, shlex.split(options.loradrop))
            print(f"largest difference of a LoRA matrix, relative to its largest magnitude: {worst:.2e}")
            if worst > 1e-4:
                raise SystemExit("That is more than 1e-4.")


main()
