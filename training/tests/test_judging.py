"""Tasks through all commands on a tiny base: head-room, training of both kinds, judging, the table; and its statistics."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import recipe, refused
from recipe.baselines import LabelSimilarity, nearest
from recipe.encoder import TextEncoder
from recipe.standings import Said, TaskBootstrap, figures, read_judged, verdict
from tiny import write_tiny

TINY = {"kind": "bases", "rank": 4, "bases": 4, "hidden": 16, "heads": 2}


def write_settings(folder: Path) -> Path:
    path = write_tiny(folder)
    values = json.loads(path.read_text())
    shape = values["generator"]
    values |= {
        "sets": ["numbers-judged", "words-rewritten"],
        "held_out": [],
        "tasks": {
            "folder": None,
            "tiers": str(folder / "tiers.json"),
            "rows": 12,
            "test_rows": 4,
            "condition_texts": 6,
            "pools": ["words-3", "words-4"],
            "limit": 12,
            "counting": False,
        },
        "collect": {**values["collect"], "multi_task_steps": 2, "multi_task_rows": 4},
        "ceilings": {"steps": 2, "rows": 2, "side_by_side": 3, "judged": 3, "upper": 1},
        "judge": {"rows": 3, "draws": 2, "shots": 2, "unlabeled": 2, "seeds": [1, 2]},
        "train": {"steps": 2, "save_every": 2, "rows": 2, "locality": 0.1, "locality_rows": 1},
        "generators": {"bases": {**shape, **TINY}, "decoder": shape, "constant": {**shape, **TINY, "constant": True}},
    }
    path.write_text(json.dumps(values))
    return path


def test_tasks_go_through_all_commands(tmp_path):
    settings, work = write_settings(tmp_path), tmp_path / "work"
    assert "T1: " in recipe("tiers", settings)
    tiers = json.loads((tmp_path / "tiers.json").read_text())["tiers"]
    # Three tasks of the tiers have to do here.
    chosen = [tiers[tier]["tasks"][index]["name"] for tier, index in (("T1", 0), ("T1", -1), ("T2", 0))]

    recipe("ceilings", settings, "--only", *chosen)
    lines = (work / "ceilings-upper-1.jsonl").read_text().splitlines()
    assert [json.loads(line)["layers"] for line in lines] == [1, 1, 1] and not any(json.loads(line)["counts"] for line in lines)
    recipe("ceilings", settings, "--only", *chosen)
    assert (work / "ceilings-upper-1.jsonl").read_text().splitlines() == lines
    assert torch.load(work / "ceilings-upper-1-loras" / f"{chosen[0]}.pt").shape[0] == torch.load(work / "ceilings-upper-1-loras" / f"{chosen[2]}.pt").shape[0]

    # The lines can come from another machine; a LoRA that did not is made again, and is the same.
    lora = work / "ceilings-upper-1-loras" / f"{chosen[1]}.pt"
    before = torch.load(lora)
    lora.unlink()
    assert recipe("ceilings", settings, "--loras").strip() == "1"
    assert torch.allclose(torch.load(lora).float(), before.float(), atol=1e-3)

    recipe("train", settings, "--only", "bases-1")
    recipe("train", settings, "--only", "constant-1")
    recipe("train", settings, "--only", "decoder-2")
    asked = refused("train", settings, "--only", "bases-3")
    assert "make bases-1, bases-2, decoder-1, decoder-2, constant-1, constant-2, and no bases-3" in asked
    assert torch.load(work / "bases-1.pt", weights_only=False)["step"] == 2
    told = recipe("look", settings, "--generator", "bases-1", "--rows", "2").splitlines()
    looked = [json.loads(line) for line in (work / "look.log.jsonl").read_text().splitlines()]
    assert [one["part"] for one in looked] == ["train", "validation"] and len(looked[0]["tasks"]) == 12
    assert all(set(said) == {"base", "own", "other"} for one in looked for said in one["tasks"].values())
    mean = np.mean([said["base"][0] for said in looked[0]["tasks"].values()])
    assert told[4].startswith(f"| 12 train | {mean:.3f} / ")

    recipe("multi-task", settings)
    assert sorted(path.name for path in (work / "multi-task").iterdir()) == ["bare-1.pt", "bare-2.pt", "instructed-1.pt", "instructed-2.pt"]

    # Two of the three count, as far as the table is concerned.
    counted = [{**one, "counts": one["task"] != chosen[1]} for one in map(json.loads, lines)]
    (work / "ceilings-upper-1.jsonl").write_text("".join(json.dumps(one) + "\n" for one in counted))
    text = recipe("judge", settings, "--only", *chosen, "--out", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "standings.json").read_text())
    assert results["T1"]["counting"] == [chosen[0]] and results["T1"]["tasks"] == 2 and set(results) == {"T1", "T2", "T1 and T2"}
    subjects = results["T1"]["subjects"]
    assert {"base-bare", "base-instructed", "base-shots", "base-unlabeled", "multi-task-bare", "own-lora", "bases-bare", "decoder-bare"} <= set(subjects)
    assert subjects["bases-bare"]["draws"] == 2 and subjects["constant-bare"]["draws"] == 1 and subjects["multi-task-bare"]["seeds"] == 2
    assert subjects["base-bare"]["tokens"] < subjects["base-instructed"]["tokens"] < subjects["base-shots"]["tokens"]
    assert "## May bases ship?" in text and "**no**: mean minus instructed base" in text
    # Once more on what is kept.
    before = {path: path.stat().st_mtime_ns for path in (work / "judged").rglob("*.json")}
    recipe("judge", settings, "--only", *chosen, "--out", tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (work / "judged").rglob("*.json")} == before

    recipe("export", settings, "--generator", "bases-1.pt", "--out", tmp_path / "export")
    facts = json.loads((tmp_path / "export" / "generator.json").read_text())
    assert facts["family"] == "bases" and all((tmp_path / "export" / file).exists() for file in [*facts["graphs"], *facts["matrices"]])
    assert json.loads((tmp_path / "export" / "layout.json").read_text())["shape"]["rank"] == 4
    recipe("export", settings, "--generator", "decoder-2.pt", "--out", tmp_path / "decoder")
    assert (tmp_path / "decoder" / "decoder.safetensors").exists() and (tmp_path / "export" / "encoder" / "model.onnx").exists()

    # With head-room asked for, only those tasks are trained on that were found to have it.
    values = json.loads(settings.read_text())
    values["tasks"]["counting"], values["work"] = True, str(tmp_path / "other")
    settings.write_text(json.dumps(values))
    assert "run `ceilings` first" in refused("train", settings)


def test_intervals_cover_families_tasks_and_seeds():
    rng = np.random.default_rng(0)
    families = [f"family {index // 5}" for index in range(60)]
    shared = np.repeat(rng.normal(0, 0.2, 12), 5)
    right = 0.5 + shared + rng.normal(0, 0.02, (3, 60))
    wide = TaskBootstrap(families).means(right)
    narrow = TaskBootstrap([str(index) for index in range(60)]).means(right)
    # Tasks of a family are alike: as many families as tasks would feign certainty.
    assert wide.std() > 1.5 * narrow.std() and abs(wide.mean() - right.mean()) < 0.02
    seeds = right + np.array([[-0.3], [0.0], [0.3]])
    assert TaskBootstrap(families).means(seeds).std() > 1.3 * wide.std()
    # A task that was not scored does not count.
    right[:, 7] = np.nan
    assert TaskBootstrap(families).means(right).mean() == pytest.approx(np.nanmean(right), abs=0.03)


def said(right, outside=0.1):
    return Said(np.array(right, dtype=float), outside, 30.0)


def test_the_verdict_is_the_four_conditions():
    families = ["a", "a", "b", "b"]
    base, better = [[[0.1, 0.2, 0.1, 0.2]]], [[[0.8, 0.9, 0.8, 0.9], [0.8, 0.9, 0.8, 0.8]]]
    subjects = {"base-instructed": said(base), "x-bare": said(better), "multi-task-instructed": said([[[0.8, 0.9, 0.8, 0.9]]]), "x-other-task": said(base)}
    found = figures(subjects, families)
    assert found["x-bare"]["minus_instructed"]["value"] == pytest.approx(0.6875) and found["x-bare"]["worst_draw"] == pytest.approx(0.825)
    assert list(verdict(found, "x").values()) == [True, True, True, True]
    subjects["x-other-task"] = said(better)
    subjects["multi-task-instructed"] = said([[[0.9, 0.9, 0.9, 0.9]]])
    subjects["x-bare"] = said([[[0.8, 0.9, 0.8, 0.9], [0.1, 0.2, 0.1, 0.2]]])
    assert list(verdict(figures(subjects, families), "x").values()) == [True, False, False, False]
    # What was not measured holds nothing.
    del subjects["x-other-task"]
    assert list(verdict(figures(subjects, families), "x").values())[2] is False


def test_judged_files_are_read_by_seed_and_draw(tmp_path):
    (tmp_path / "a/one").mkdir(parents=True)
    for number, right in (("1.0", [1, 1]), ("1.1", [0, 1]), ("2.0", [0, 0]), ("2.1", [0, 1])):
        (tmp_path / "a/one" / f"x-bare@{number}.json").write_text(json.dumps({"right": right, "outside": 0.5, "tokens": 20}))
    one = read_judged(tmp_path, ["a/one", "a/two"])["x-bare"]
    assert one.right[:, :, 0].tolist() == [[1.0, 0.5], [0.0, 0.5]] and np.isnan(one.right[:, :, 1]).all() and one.outside == 0.5


def test_similar_labels_and_nearest_tasks(tmp_path):
    write_tiny(tmp_path)
    similar = LabelSimilarity(TextEncoder(tmp_path / "encoder", 2, 16))
    rows = [{"prompt": text, "response": text, "choices": ["pay the bill", "open the door"]} for text in ("pay the bill", "open the door")]
    assert similar.right(rows) == [1.0, 1.0]
    states = lambda *values: torch.tensor(values).repeat(3, 4, 1)
    means = {"left": torch.tensor([1.0, 5.0]), "right": torch.tensor([9.0, 5.0])}
    assert nearest(states(2.0, 5.0), means) == "left" and nearest(states(8.0, 5.1), means) == "right"
