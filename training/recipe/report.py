"""Tables and plots of an evaluation."""

from __future__ import annotations

from pathlib import Path

from .evaluate import SUBJECTS


def protocol(results: dict) -> str:
    """In a paragraph: what was held out, from what, on how many items."""
    settings, sets = results["settings"], results["sets"]
    folds = all(one["generator"].startswith("fold-") for one in sets.values())
    held = ", ".join(sets)
    trained = (
        f"Each of {held} was held out in turn: a generator of its own was trained on every other set"
        if folds
        else f"One generator was trained without {held}, which it was then judged on"
    )
    items = sorted({one["items"] for one in sets.values()})
    return (
        f"{trained}. Scored on {' or '.join(map(str, items))} test items a set by answer NLL in nats per token (end of turn included) and by the "
        f"likeliest of the listed choices, in the base's own chat template without an instruction. Generated adapters: "
        f"{settings['evaluate']['draws']} draws of {settings['generator']['prompts']} unlabeled prompts of the set's training rows. "
        "Intervals: 95 % bootstrap over items, and over draws where prompts are drawn. No checkpoint was chosen by test items, but the best "
        f"single training LoRA was.{''.join(f' {sentence}' for sentence in [*_form(sets), *results.get('notes', [])])}"
    )


def _form(sets: dict) -> list[str]:
    """How the two rows were computed that say what the form of the answers is worth; nothing where they are not there."""
    if not any("uniform-guess" in one["subjects"] for one in sets.values()):
        return []
    return [
        "Uniform guess: every listed choice equally likely, no other answer possible, so ln(choices) nats an answer.",
        "Base held to the listed choices: its likelihoods of an item's whole choices, divided by their sum. Both are told per answer token.",
    ]


def verdicts(one: dict) -> dict[str, bool]:
    """
    What the generated adapter beats, of what was scored: the paired interval above 0, or intervals that do not meet for base and mean
    and where there is no paired one.
    """
    subjects = one["subjects"]
    generated = subjects["generated"]["nll"]
    apart = lambda name: generated["high"] < subjects[name]["nll"]["low"]
    paired = lambda name: subjects[name]["nll_minus_generated"]["low"] > 0 if "low" in subjects[name]["nll_minus_generated"] else apart(name)
    judged = {
        "uniform guess in the right form": ("uniform-guess", paired),
        "base held to the listed choices": ("base-held-to-choices", paired),
        "untouched base": ("base", apart),
        "mean of training LoRAs": ("training-adapters-mean", apart),
        "prompts of other sets of the same form": ("control-same-form", paired),
        "prompts of sets of other forms": ("control-other-form", paired),
        "shuffled words": ("control-shuffled-words", paired),
        "multi-task LoRA": ("multi-task-adapter", paired),
        "multi-task LoRA without mixed sets": ("multi-task-adapter-unmixed", paired),
    }
    has = lambda name: name in subjects and "low" in subjects[name]["nll"]
    return {told: beats(name) for told, (name, beats) in judged.items() if has(name)}


def share_of_own_gain(one: dict, subject: str) -> float:
    """A subject's gain over the base in NLL as a share of the own LoRA's."""
    value = lambda name: one["subjects"][name]["nll"]["value"]
    return (value("base") - value(subject)) / (value("base") - value("own-adapter"))


def write_report(results: dict, out: Path) -> str:
    """Writes EVALUATION.md and a plot a set into `out`; returns the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    lines = ["# Evaluation", "", protocol(results), ""]
    for name, one in results["sets"].items():
        lines += table(name, one)
        _plot(name, one, out / f"{name}.png")
    text = "\n".join(lines)
    (out / "EVALUATION.md").write_text(text)
    return text


def table(name: str, one: dict, level: int = 2) -> list[str]:
    """A set's figures as Markdown lines under a heading of this level."""
    between = lambda entry, digits: f" ({entry['low']:.{digits}f}–{entry['high']:.{digits}f})" if "low" in entry else ""
    shown = lambda entry, digits: f"{entry['value']:.{digits}f}{between(entry, digits)}"
    lines = [
        f"{'#' * level} {name}",
        "",
        f"{one['items']} items, generator `{one['generator']}`. NLL difference: that row minus the generated adapter on the same items.",
        "",
        "| adapter | answer NLL, nats a token | difference | accuracy |",
        "|---|---|---|---|",
    ]
    for subject, told in SUBJECTS.items():
        entry = one["subjects"].get(subject)
        if not entry:
            continue
        if subject == "training-adapter-best":
            told += f" ({one['best_training_set']})"
        nll = shown(entry["nll"], 3)
        if entry.get("adapters", 1) > 1:
            nll += f", sd {entry['nll_deviation']:.3f} of {entry['adapters']}"
        difference = "" if subject == "generated" else shown(entry["nll_minus_generated"], 4)
        accuracy = shown(entry["accuracy"], 3) if "accuracy" in entry else ""
        lines.append(f"| {told} | {nll} | {difference} | {accuracy} |")
    beaten = [what for what, yes in verdicts(one).items() if yes]
    missed = [what for what, yes in verdicts(one).items() if not yes]
    form = ""
    if "uniform-guess" in one["subjects"]:
        form = f"; a uniform guess in the right form, which is form alone, has {share_of_own_gain(one, 'uniform-guess'):.0%}"
    lines += [
        "",
        f"Better in NLL than: {', '.join(beaten) or 'nothing'}. Not better than: {', '.join(missed) or 'nothing of these'}. "
        f"Of the own LoRA's gain over the base the generated adapter has {share_of_own_gain(one, 'generated'):.0%}{form}.",
        "",
    ]
    return lines


def _plot(name: str, one: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [subject for subject in SUBJECTS if subject in one["subjects"]][::-1]
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 0.42 * len(shown) + 1.2), sharey=True)
    for panel, key, label in zip(panels, ("nll", "accuracy"), ("answer NLL, nats a token (log scale)", "accuracy")):
        for height, subject in enumerate(shown):
            entry = one["subjects"][subject].get(key)
            if entry:
                colour = "#c0392b" if subject == "generated" else "#2c3e50"
                low, high = entry.get("low", entry["value"]), entry.get("high", entry["value"])
                error = [[entry["value"] - low], [high - entry["value"]]]
                panel.errorbar(entry["value"], height, xerr=error, fmt="o", color=colour, capsize=3)
        panel.set_xlabel(label)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_xscale("log")
    panels[0].set_yticks(range(len(shown)), [SUBJECTS[subject] for subject in shown])
    figure.suptitle(f"{name}, {one['items']} items, 95 % intervals")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
