"""Scores of answers, and what the form of the answers alone scores."""

import math

import numpy as np
import torch
from recipe.base_model import BaseModel, load_base
from recipe.data import Encoder
from recipe.scoring import Exam, score
from tiny import write_tiny

ROWS = [
    {"prompt": "is 7 odd?", "response": "[True]", "choices": ["[True]", "[False]"]},
    {"prompt": "a longer question, is it not?", "response": "no", "choices": ["yes", "no", "perhaps"]},
    {"prompt": "say something", "response": "well"},
]


def test_the_form_of_the_answers_is_told_apart(tmp_path):
    write_tiny(tmp_path)
    _, tokenizer, model = load_base(tmp_path / "base")
    base, chat = BaseModel(model, torch.float32), Encoder(tokenizer)
    each = lambda row, answer: score(base, None, Exam.of([{**row, "response": answer, "choices": None}], chat, torch.device("cpu"))).nll[0]
    found = score(base, None, Exam.of(ROWS, chat, torch.device("cpu")))

    held, guess = found.held_to_choices(), found.uniform_guess()
    for index, row in enumerate(ROWS[:2]):
        likelihoods = {choice: math.exp(-each(row, choice)) for choice in row["choices"]}
        assert np.isclose(found.nll[index], -math.log(likelihoods[row["response"]]), rtol=1e-4)
        assert np.isclose(held.nll[index], -math.log(likelihoods[row["response"]] / sum(likelihoods.values())), rtol=1e-3, atol=1e-4)
        assert held.nll[index] < found.nll[index] and held.tokens[index] == found.tokens[index]
        assert guess.nll[index] == math.log(len(row["choices"])) and guess.right[index] == 1 / len(row["choices"])
    assert np.isnan([found.held[2], found.choices[2], guess.nll[2], held.nll[2]]).all()
