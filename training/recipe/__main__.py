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
from .train import train_folds, train_local, train_trunk


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipe", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument("settings", type=Path, help="JSON file of the run, see training/README.md")
        return one

    command("collect", "Tune a LoRA of the base on every data set, and multi-task LoRAs to compare with.")
    one = command("train", "Train the generator: the trunk without all held-out sets, then a fold for each of them.")
    one.add_argument("--only", choices=["trunk", "local", "folds"], help="a part of it")
    one = command("evaluate", "Judge generated adapters on the held-out sets.")
    one.add_argument("--generator", help="one file of the run for all sets, for example trunk.pt (default: the folds)")
    one.add_argument("--out", type=Path, required=True, help="folder for evaluation.json, EVALUATION.md and plots")
    one = command("export", "Write what `loradrop import` takes.")
    one.add_argument("--generator", default="local.pt", help="file of the run (default: %(default)s)")
    one.add_argument("--evaluation", type=Path, help="evaluation.json of this generator, for the bundle to carry")
    one.add_argument("--out", type=Path, required=True, help="folder to write")
    one = command("agree", "Compare an imported bundle's adapters with PyTorch's.")
    one.add_argument("--generator", default="local.pt")
    one.add_argument("--bundle", type=Path, required=True)
    one.add_argument("--loradrop", default="npx loradrop", help="how to call it (default: %(default)s)")

    options = parser.parse_args()
    run = Run(options.settings)
    match options.command:
        case "collect":
            collect(run)
        case "train":
            if options.only in (None, "trunk"):
                train_trunk(run)
            if options.only in (None, "local") and run.settings.local.steps:
                train_local(run)
            if options.only in (None, "folds"):
                train_folds(run)
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
