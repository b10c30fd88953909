"""Tasks: their rows, how they are divided, what is asked, what counts as right."""

import json
import random
import re
from collections import Counter

import pytest
from excerpts import write_excerpts
from recipe.settings import TaskSettings
from recipe.tasks.exact import is_outside, is_right, trimmed
from recipe.tasks.inputs import CLAUSE, PHRASE
from recipe.tasks.prompts import ask, condition_texts
from recipe.tasks.registry import T1, T2, T3, TRAIN, VALIDATION, all_tasks, divide
from recipe.tasks.sets import TaskSets
from recipe.tasks.sources import SOURCES
from recipe.tasks.table import write_tables
from recipe.tasks.task import held
from recipe.tasks.tiers import fix_tiers, parts_of
from recipe.tasks.words import KINDS, in_words, ordinal, past, progressive, third_person

# (task, input, answer), worked out by hand.
KNOWN = [
    ("pick/last-in-words-3", "pass, pelican, count", "count"),
    ("pick/longest-in-words-3", "pass, pelican, count", "pelican"),
    ("arrange/sorted-of-words-3", "pass, pelican, count", "count, pass, pelican"),
    ("join/camel-of-words-3", "pass, pelican, count", "passPelicanCount"),
    ("join/sentence-of-words-3", "pass, pelican, count", "pass, pelican and count"),
    ("rule/by-five-of-number-red-green", "132", "green"),
    ("number/in-words-of-number", "132", "one hundred and thirty-two"),
    ("number/padded-of-number", "132", "000132"),
    ("date-format/us-of-iso-date", "2028-04-02", "04/02/2028"),
    ("date-format/quarter-of-iso-date", "2028-04-02", "Q2"),
    ("date-format/iso-of-written-date", "5 May 2009", "2009-05-05"),
    ("time-format/twelve-hours-of-time-of-day", "13:21", "1:21 pm"),
    ("units/smaller-of-quantity", "234 m", "23400 cm"),
    ("price/words-of-price", "$298.26", "two hundred and ninety-eight dollars and twenty-six cents"),
    ("person-format/email-of-person", "Rosa Okafor, 49, pilot, Porto", "rosa.okafor@example.org"),
    ("tense/past-question-of-subject-and-verb", "the farmer / copy", "did the farmer copy?"),
    ("sale/buyer-in-sale", "On Saturday Dario sold 40 pillows to Omar in Tampere for 32 euros.", "Omar"),
    ("log-format/hundreds-of-log-line", "2007-08-03 07:06 DEBUG network: retry later (255)", "2xx"),
    ("label/action-of-order", "order B-8706: 6 x marble, to Utrecht, shipped", "track"),
    ("address/stem-in-web-address", "https://www.winter.org/butter/plain.txt", "plain"),
    ("review/praised-of-review", "The service was poor, but the price was wonderful.", "price"),
    ("phrase/compared-of-adjective-and-noun", "cheap quilt", "cheaper than the quilt"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_excerpts(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def divided(folder):
    tasks = all_tasks(folder)
    return tasks, divide(tasks)


@pytest.mark.parametrize(("name", "text", "answer"), KNOWN)
def test_answers_are_right(name, text, answer):
    pairs = {one: said for one, said, _ in all_tasks(None)[name].pairs()}
    assert pairs[text] == answer


def test_there_are_more_than_300_tasks_to_train_on_with_rows_and_wordings(divided):
    tasks, part = divided
    assert sum(one == TRAIN for one in part.values()) > 300
    for name, task in tasks.items():
        own, judged = task.rows(60, 20)
        assert own and judged and (own, judged) == task.rows(60, 20), name
        assert len(set(task.wordings)) >= 2 and all(wording.strip() and not re.search(r"{\w*}", wording) for wording in task.wordings), name
        assert all(text and answer == answer.strip() and answer for text, answer in own + judged), name
        assert not {text for text, _ in own} & {text for text, _ in judged}, name
        if task.choices:
            counts = Counter(answer for _, answer in own)
            assert set(counts) <= set(task.choices), name
            assert max(counts.values()) <= -(-60 // len(task.choices)), name
        else:
            assert len({answer for _, answer in own}) > 1, name


def test_inputs_are_shared_and_what_judges_is_never_trained_on(divided):
    tasks, _ = divided
    for pool in ("words-4", "person", "home"):
        sharing = [task for task in tasks.values() if task.pool == pool]
        assert len(sharing) > 5
        trained = {text for task in sharing for text, _ in task.rows(100, 0)[0]}
        judged = {text for task in sharing for text, _ in task.rows(0, 100)[1]}
        assert not trained & judged
    # The same inputs with other answers: which task it is, no input tells.
    words = [dict(task.rows(100, 0)[0]) for task in tasks.values() if task.pool == "words-4" and not task.choices]
    assert all(one.keys() == words[0].keys() for one in words) and len({tuple(one.values()) for one in words}) == len(words)
    assert 0.2 < sum(held(str(number)) for number in range(2000)) / 2000 < 0.3


def test_tiers_are_what_they_say(divided):
    tasks, part = divided
    of = lambda *wanted: [tasks[name] for name, one in part.items() if one in wanted]
    seen = {task.family for task in of(TRAIN)}
    assert len(of(T1)) >= 20 and len(of(T2)) >= 20 and len(of(T1, T2, T3)) >= 60 and len(of(VALIDATION)) >= 20
    assert all(task.family in seen and not task.parts for task in of(T1))
    assert {"travel", "work", "kitchen-and-dining"} <= {task.pool for task in of(T1)}
    assert not {"travel", "work", "kitchen-and-dining"} & {task.pool for task in of(TRAIN, VALIDATION)}
    for task in of(T2):
        assert len(task.parts) == 2 and all(part[name] == TRAIN for name in task.parts)
    assert {task.family for task in of(T3)} == {"banking", "dstc8"} and not {"banking", "dstc8"} & seen
    assert all(SOURCES[task.source].trained for task in of(TRAIN))
    for task in of(T1, T2, T3):
        assert len(task.rows(0, 200)[1]) == 200, task.name


def test_tiers_are_fixed_once(folder, tmp_path):
    path = tmp_path / "tiers.json"
    made = fix_tiers(folder, 200, path)
    assert fix_tiers(folder, 200, path) == made == json.loads(path.read_text())
    assert parts_of(path)[made["tiers"]["T2"]["tasks"][0]["name"]] == T2
    path.write_text(path.read_text().replace(made["validation"][0]["digest"], "0" * 64))
    with pytest.raises(SystemExit, match="fixed before training"):
        fix_tiers(folder, 200, path)


def test_the_table_tells_terms_and_rows(folder, tmp_path):
    text = write_tables(folder, 60, 20, tmp_path)
    assert "| CC BY 3.0 |" in text and "MUSE" in text and "| all | " in text
    facts = json.loads((tmp_path / "tasks.json").read_text())
    assert facts["pick/last-in-words-3"]["train_rows"] == 60 and facts["pick/last-in-words-3"]["example"][1]
    assert {one["part"] for one in facts.values()} == {TRAIN, VALIDATION, T1, T2, T3}


def test_prompts_hold_instruction_and_input_and_descriptions_no_input(divided):
    task = divided[0]["pick/last-in-words-3"]
    inputs = [text for text, _ in task.rows(50, 0)[0]]
    asked = [ask(task, inputs[0], random.Random(number)) for number in range(60)]
    assert len(set(asked)) > 20 and all(inputs[0] in text and len(text) > len(inputs[0]) + 8 for text in asked)
    made = {kind: condition_texts(task, inputs, kind, 40, 7) for kind in ("prompts", "descriptions", "both")}
    assert made["prompts"] == condition_texts(task, inputs, "prompts", 40, 7) != condition_texts(task, inputs, "prompts", 40, 8)
    holds = lambda text: any(one in text for one in inputs)
    assert [sum(map(holds, made[kind])) for kind in ("prompts", "descriptions", "both")] == [40, 0, 20]
    with pytest.raises(ValueError, match="prompts, descriptions, both"):
        condition_texts(task, inputs, "words", 4, 7)


def test_trimming_is_no_more_than_white_space_quotes_and_a_full_stop():
    for said in ("river", " river\n", '"river"', "river.", '"river".', "'river'"):
        assert is_right(said, "river"), said
    for said in ("River", "the river", "river lamp", "*river*", ""):
        assert not is_right(said, "river"), said
    assert is_right("A.", "A.") and not is_right("A", "A.") and is_right('"a"', '"a"') and not is_right("a", '"a"')
    assert trimmed('"', "x") == '"'
    assert is_outside("maybe", "yes", ["yes", "no"]) and not is_outside("no.", "yes", ["yes", "no"])


def test_words_are_english():
    assert [in_words(number) for number in (0, 13, 40, 85, 100, 999, 1005, 7200)] == [
        "zero", "thirteen", "forty", "eighty-five", "one hundred", "nine hundred and ninety-nine", "one thousand and five", "seven thousand two hundred",
    ]  # fmt: skip
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 111, 102)] == "1st 2nd 3rd 4th 11th 12th 13th 21st 111th 102nd".split()
    assert [past(verb) for verb in "walk bake study play stop catch".split()] == "walked baked studied played stopped caught".split()
    assert [progressive(verb) for verb in "walk bake study plan".split()] == "walking baking studying planning".split()
    assert [third_person(verb) for verb in "walk push study play mix".split()] == "walks pushes studies plays mixes".split()
    words = [word for words in KINDS.values() for word in words]
    assert len(words) == len(set(words))
    for pool in (CLAUSE, PHRASE):
        assert len(pool.inputs(1000)) > 700


def test_training_can_be_of_a_few_kinds_of_input_and_families(tmp_path):
    few = TaskSets(TaskSettings(None, str(tmp_path / "tiers.json"), pools=["words-4"], families=["pick"]), 1)
    trained = few.names(TRAIN)
    assert "pick/last-in-words-4" in trained and all(name.startswith("pick/") and name.endswith("words-4") for name in trained)
    every = TaskSets(TaskSettings(None, str(tmp_path / "tiers.json")), 1)
    assert few.names(VALIDATION, T1, T2, T3) == every.names(VALIDATION, T1, T2, T3) and len(every.names(TRAIN)) > 300
    assert len(TaskSets(TaskSettings(None, str(tmp_path / "tiers.json"), pools=["words-4"], limit=5), 1).names(TRAIN)) == 5
