"""All four commands on a tiny base, once more on what is there, and after an interruption."""

import json
import os
import shlex
import subprocess
import sys

import torch
from commands import TRAINING, recipe, refused
from safetensors.torch import load_file
from tiny import write_tiny

def test_names_that_do_not_fit_are_refused(tmp_path):
    settings = write_tiny(tmp_path)
    assert "make reconstruction, generator, fold-kinds-judged, and no fold-boolq" in refused("train", settings, "--only", "fold-boolq")
    values = json.loads(settings.read_text())
    values["held_out"].append("numbers-judged")
    settings.write_text(json.dumps(values))
    out = tmp_path / "out"
    said = refused("evaluate", settings, "--generator", "fold-kinds-judged.pt", "--out", out)
    assert "fold-kinds-judged.pt was trained on numbers-judged" in said and not out.exists()


def test_the_whole_recipe(tmp_path):
    settings = write_tiny(tmp_path)
    work = tmp_path / "work"
    recipe("collect", settings)
    checkpoints = torch.load(work / "loras" / "kinds-judged.pt")
    assert len(checkpoints) == 2 and not torch.equal(checkpoints[0], checkpoints[1])

    recipe("train", settings)
    whole = torch.load(work / "generator.pt", weights_only=False)
    assert whole["step"] == 6 and (work / "fold-kinds-judged.pt").exists()

    table = recipe("evaluate", settings, "--out", tmp_path / "folds")
    assert "| generated adapter |" in table and (tmp_path / "folds" / "kinds-judged.png").exists()
    results = json.loads((tmp_path / "folds" / "evaluation.json").read_text())["sets"]["kinds-judged"]
    assert len(results["subjects"]["generated"]["nll_of_each"]) == 2
    guess, held = results["subjects"]["uniform-guess"], results["subjects"]["base-held-to-choices"]
    assert guess["accuracy"]["value"] == 0.5 and 0 < guess["nll"]["value"] < results["subjects"]["base"]["nll"]["value"]
    assert held["accuracy"] == results["subjects"]["base"]["accuracy"]
    assert results["control_sets"] == {"control-same-form": ["numbers-judged"], "control-other-form": ["amounts-of-two", "words-rewritten"]}
    assert "a uniform guess in the right form, which is form alone, has" in table
    assert "kinds-judged" not in results["training_sets"]
    recipe("evaluate", settings, "--generator", "generator.pt", "--out", tmp_path / "one")

    recipe("export", settings, "--evaluation", tmp_path / "one" / "evaluation.json", "--out", tmp_path / "export")
    state = load_file(tmp_path / "export" / "decoder.safetensors")
    assert all(name.startswith("model.decoder.module_list.") for name in state)
    shown = json.loads((tmp_path / "export" / "evaluation.json").read_text())
    assert {row["subject"] for row in shown["rows"]} >= {"base", "generated", "control-shuffled-words", "uniform-guess", "control-same-form"}

    # The service's command line, where the caller has one (the repository's test does).
    if loradrop := os.environ.get("LORADROP"):
        bundle, parts = tmp_path / "bundle", tmp_path / "export"
        options = {"checkpoint": "decoder.safetensors", "encoder": "encoder", "layout": "layout.json", "evaluation": "evaluation.json"}
        words = [word for name, file in options.items() for word in (f"--{name}", str(parts / file))]
        subprocess.run([*shlex.split(loradrop), "import", *words, "--precision", "f16", "--out", str(bundle)], check=True)
        assert "relative to its largest magnitude" in recipe("agree", settings, "--bundle", bundle, "--loradrop", loradrop)


def test_an_interrupted_training_ends_like_a_whole_one(tmp_path):
    settings = write_tiny(tmp_path)
    values = json.loads(settings.read_text())
    values["reconstruction"]["steps"] = 0
    settings.write_text(json.dumps(values))
    recipe("train", settings, "--only", "generator")
    whole = torch.load(tmp_path / "work" / "generator.pt", weights_only=False)
    (tmp_path / "work" / "generator.pt").unlink()

    # A run that dies after its first save: the same settings, with a log that cannot be written any more.
    program = (
        "import sys; from recipe import generator; from pathlib import Path; save = generator.Generator.save\n"
        "def once(self, path, **extra):\n    save(self, path, **extra); sys.exit(9)\n"
        "generator.Generator.save = once\n"
        f"from recipe.run import Run; from recipe.train import train; train(Run(Path({str(settings)!r})), 'generator')"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=TRAINING, capture_output=True).returncode == 9
    assert torch.load(tmp_path / "work" / "generator.pt", weights_only=False)["step"] == 3
    recipe("train", settings, "--only", "generator")
    resumed = torch.load(tmp_path / "work" / "generator.pt", weights_only=False)
    assert resumed["step"] == 6
    for name, value in whole["decoder"].items():
        assert torch.allclose(value, resumed["decoder"][name], atol=1e-6), name
