"""`python -m recipe COMMAND SETTINGS.json`: the commands of the recipe, each of which goes on where it was interrupted."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from .baselines import multi_task
from .ceilings import ceilings, missing_loras
from .collect import collect
from .evaluate import evaluate
from .export import agree, export
from .judge import judge, parts_to_judge
from .look import look
from .report import write_report
from .run import Run
from .settings import Settings
from .standings import standings, write_standings
from .tasks.table import write_tables
from .tasks.tiers import fix_tiers
from .train import train


def main(arguments: list[str] | None = None) -> None:
    """Runs the command of these words, or of the command line."""
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

    one = command("tasks", "Write the table of tasks, sources, terms and rows.")
    one.add_argument("--out", type=Path, default=Path("results/tasks"), help="folder for TASKS.md and tasks.json (default: %(default)s)")
    command("tiers", "Fix what is held out, or check that the tasks still give what was fixed.")
    command("multi-task", "Tune LoRAs of all training tasks together, to compare with.")
    one = command("look", "See whether a generator in training reads its prompts: validation tasks and rows that nobody trains on.")
    one.add_argument("--generator", required=True, help="stem of one of the run, for example bases-1")
    one.add_argument("--rows", type=int, default=8, help="rows a task (default: %(default)s)")
    one = command("judge", "Judge generators on the held-out tasks, by exact match, and write the table.")
    one.add_argument("--validation", action="store_true", help="the tasks for choices in place of the tiers")
    one.add_argument("--only", nargs="+", help="names of tasks")
    one.add_argument("--out", type=Path, required=True, help="folder for STANDINGS.md and standings.json")
    one = command("ceilings", "Tune a LoRA of every task, and find which have head-room over the instructed base.")
    one.add_argument("--minutes", type=float, help="begin no more tasks after so long")
    one.add_argument("--only", nargs="+", help="names of tasks")
    one.add_argument("--loras", action="store_true", help="only tune LoRAs again that are not on this machine, of tasks whose head-room is known")

    options = parser.parse_args(arguments)
    if options.command in ("tasks", "tiers"):
        # These need neither base nor encoder.
        tasks = Settings.read(options.settings).tasks
        folder = Path(tasks.folder) if tasks.folder else None
        if options.command == "tasks":
            print(write_tables(folder, tasks.rows, tasks.test_rows, options.out))
        else:
            made = fix_tiers(folder, tasks.test_rows, Path(tasks.tiers))
            print(", ".join(f"{tier}: {len(one['tasks'])} tasks" for tier, one in made["tiers"].items()))
        return
    run = Run(options.settings, options.device)
    match options.command:
        case "collect":
            collect(run)
        case "multi-task":
            multi_task(run)
        case "look":
            print(look(run, options.generator, options.rows))
        case "judge":
            parts = parts_to_judge(run, options.validation, options.only)
            judge(run, parts)
            print(write_standings(run, standings(run, parts), options.out))
        case "ceilings":
            print(missing_loras(run, options.only) if options.loras else ceilings(run, options.minutes, options.only))
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


if __name__ == "__main__":
    main()
