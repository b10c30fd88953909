"""Sets: what is derived from others, which forms are held apart, and how steps are put together."""

import json
import random

from recipe.data import FORM_OF, PUBLIC, apart, load_sets
from recipe.derived import DERIVED, question_and_options
from recipe.families import FAMILIES, in_words, make_family, scrambled

LINES = {"prompt": "Which is a metal?\nA: iron\nB: wood.\nPlease answer the question choosing from A/B.", "response": "[A]"}
INLINE = {"prompt": "Which is a metal?choices: A: wood, grey, B: iron, C: air", "response": "[B]"}


def test_questions_are_read_from_both_ways_of_listing_options():
    assert question_and_options(LINES) == ("Which is a metal?", ["iron", "wood"], 0)
    assert question_and_options(INLINE) == ("Which is a metal?", ["wood, grey", "iron", "air"], 1)
    assert question_and_options({"prompt": "Which is a metal?\n1: iron\n2: wood", "response": "[1]"}) is None


def test_derived_rows_say_what_their_source_does(tmp_path):
    """From files like the public ones, whose right option is always the one called right."""
    rng = random.Random(0)
    for name, (train_file, test_file, _) in PUBLIC.items():
        rows = []
        for number in range(80):
            right = rng.randrange(4)
            options = [f"{'right' if index == right else 'wrong'} {number} {index}" for index in range(4)]
            listed = [f"{letter}: {option}" for letter, option in zip("ABCD", options)]
            prompt = f"Which of these {name} number {number} is it?\n" + "\n".join(listed)
            rows.append({"prompt": prompt, "response": f"[{'ABCD'[right]}]"})
        for file in {train_file, test_file} - {None}:
            (tmp_path / file).write_text(json.dumps(rows if file == train_file else rows[:20]))
    sets = load_sets(tmp_path, 100)
    assert set(sets) == {*PUBLIC, *DERIVED, *FAMILIES} == set(FORM_OF)
    for row in sets["science-judged"].train:
        assert ("right" in row["prompt"].replace("right answer", "")) == (row["response"] == "[True]")
    for row in sets["science-of-two"].train:
        line = next(line for line in row["prompt"].split("\n") if line.startswith(row["response"][1]))
        assert "right" in line and row["prompt"].count("wrong") == 1
    assert all(row["response"].startswith("right") for row in sets["science-open"].train)
    assert {row["response"].split()[0] for row in sets["questions-mixed"].train} == {"Yes", "No", "right"}
    for row in sets["questions-scrambled"].train:
        assert sorted(row["prompt"].split()) == sorted(row["response"].split()) and row["prompt"] != row["response"]
    # What is judged by is in no set that is trained on, its own or derived.
    asked = {question_and_options(row)[0] for row in sets["arc-easy"].test}
    assert len(asked) == 20
    for name in DERIVED:
        assert not [row for row in sets[name].train for question in asked if question in row["prompt"]], name


def test_mixed_rows_are_held_apart_only_from_what_they_cannot_be():
    assert apart("boolq", "arc-easy") and apart("chat-mixed", "gsm8k") and apart("words-scrambled", "boolq")
    assert not apart("boolq", "chat-mixed") and not apart("questions-mixed", "science-open") and not apart("winogrande", "arc-easy")


def test_answers_in_words_are_the_chosen_options():
    assert in_words(LINES)["response"] == "iron"
    assert in_words({"prompt": "is it?", "response": "[False]"}) == {"prompt": "is it?", "response": "No"}
    assert scrambled("one one", random.Random(0)) is None


def test_families_are_seeded_and_sound():
    for name in FAMILIES:
        rows = make_family(name, 100)
        assert rows == make_family(name, 100)
        assert len({row["prompt"] for row in rows}) == len(rows) > 50
        for row in rows:
            assert row["response"] in row.get("choices", [row["response"]])
        if "choices" in rows[0]:
            assert {row["response"] for row in rows} == set(rows[0]["choices"])
        if rows[0]["response"] in ("[True]", "[False]"):
            assert sum(row["response"] == "[True]" for row in rows) * 2 == len(rows)
    for one in load_sets(None, 50).values():
        assert not {row["prompt"] for row in one.train} & {row["prompt"] for row in one.test}
