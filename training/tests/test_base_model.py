"""The base's forward pass against transformers and PEFT."""


import pytest
import torch
from recipe.base_model import MODULES
from recipe.layout import Layout
from tiny import steep_base


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return steep_base(tmp_path_factory.mktemp("tiny"))


ROWS = [
    {"prompt": "is 7 odd?", "response": "[True]", "choices": ["[True]", "[False]"], "system": "Judge."},
    {"prompt": "a much longer question, is it not?", "response": "no", "choices": ["yes", "no", "perhaps"], "system": "Short."},
]


def reference(model, ids, answer):
    logits = model(torch.tensor([ids + answer])).logits[0].log_softmax(-1)
    return [-logits[len(ids) - 1 + i, token].item() for i, token in enumerate(answer)]


@torch.no_grad()
def test_scores_are_those_of_transformers(parts):
    base, chat, model = parts
    got = base.target_nll(chat.batch([ROWS]), None)
    want = [nll for row in ROWS for nll in reference(model, chat.prefix + chat.prompt(row), chat.answer(row["response"]))]
    assert torch.allclose(got, torch.tensor(want), atol=2e-5)


@torch.no_grad()
def test_candidates_do_not_see_each_other(parts):
    base, chat, model = parts
    batch = chat.batch([ROWS], [row["choices"] for row in ROWS])
    want = [
        nll
        for row in ROWS
        for choice in row["choices"]
        for nll in reference(model, chat.prefix + chat.prompt(row), chat.answer(choice))
    ]
    assert torch.allclose(base.target_nll(batch, None), torch.tensor(want), atol=2e-5)
    assert batch.owner.max() == 4


@torch.no_grad()
def test_an_instruction_takes_the_place_of_the_templates(parts):
    base, chat, model = parts
    got = base.target_nll(chat.batch([ROWS], instructed=True), None)
    want = [nll for row in ROWS for nll in reference(model, chat.instructed(row), chat.answer(row["response"]))]
    assert torch.allclose(got, torch.tensor(want), atol=2e-5)


def test_a_prompt_cut_in_two_has_the_tokens_of_the_whole(parts):
    _, chat, _ = parts
    for row in ROWS:
        whole = chat.tokens(chat._text([("user", row["prompt"])]))
        assert chat.prefix + chat.prompt(row) == whole


@pytest.mark.parametrize("targets", [MODULES, ("q_proj", "v_proj")])
def test_lora_is_that_of_peft(parts, targets):
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    base, chat, model = parts
    layout = Layout(base.shape, 4, 8.0, targets)
    torch.manual_seed(3)
    chunks = torch.randn(layout.token_shape[0], 4, layout.chunk_width) * 0.1
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(targets), task_type="CAUSAL_LM")
    peft = get_peft_model(deepcopy(model), config).eval()
    result = set_peft_model_state_dict(peft, layout.to_state(chunks))
    assert not result.unexpected_keys
    with torch.no_grad():
        got = base.target_nll(chat.batch([ROWS]), layout.to_lora(chunks))
        want = [n for row in ROWS for n in reference(peft, chat.prefix + chat.prompt(row), chat.answer(row["response"]))]
    assert torch.allclose(got, torch.tensor(want), atol=5e-5)
    assert (got - base.target_nll(chat.batch([ROWS]), None)).abs().max() > 0.01


def test_gradients_reach_every_matrix(parts):
    base, chat, _ = parts
    layout = Layout(base.shape, 4, 8.0)
    chunks = (torch.randn(layout.token_shape[0], 4, layout.chunk_width) * 0.1).requires_grad_()
    base.target_nll(chat.batch([ROWS]), layout.to_lora(chunks)).mean().backward()
    assert (chunks.grad.abs().amax((1, 2)) > 0).all()


@torch.no_grad()
def test_every_group_has_a_lora_of_its_own(parts):
    base, chat, _ = parts
    layout = Layout(base.shape, 4, 8.0)
    torch.manual_seed(3)
    chunks = torch.randn(2, layout.token_shape[0], 4, layout.chunk_width) * 0.1
    # Rows of several widths, and groups of several lengths.
    long = {"prompt": "words " * 30, "response": "many words in this answer"}
    groups = [[*ROWS, long], ROWS[1:]]
    batch = chat.batch(groups)
    assert len(batch.spans) > 1 and batch.groups == 2
    got = base.target_nll(batch, layout.to_lora(chunks))
    alone = [base.target_nll(chat.batch([rows]), layout.to_lora(one)) for rows, one in zip(groups, chunks)]
    assert torch.allclose(got, torch.cat(alone), atol=1e-5)
    assert batch.group.tolist() == [0, 0, 0, 1]


def test_locality_is_measured_on_the_other_rows_alone(parts):
    from recipe.train import Step, step_losses

    base, chat, _ = parts
    layout = Layout(base.shape, 4, 8.0)
    step = Step.of(["one", "two"], torch.zeros(0), [(ROWS[:1], ROWS[1:]), (ROWS[1:], ROWS[:1])], chat)
    chunks = torch.zeros(2, layout.token_shape[0], 4, layout.chunk_width)
    losses, moved = step_losses(base, layout.to_lora(chunks), step)
    for loss, row in zip(losses, ROWS):
        assert loss.item() == pytest.approx(base.target_nll(chat.batch([[row]]), None).mean().item(), abs=1e-5)
    assert moved.abs().max() < 1e-5
    torch.manual_seed(3)
    chunks[1] = torch.randn(chunks[1].shape) * 0.1
    same, moved = step_losses(base, layout.to_lora(chunks), step)
    assert same[0].item() == pytest.approx(losses[0].item(), abs=1e-5)
    assert abs(moved[0].item()) < 1e-5 and moved[1].item() > 0.01


def test_a_step_over_cached_states_is_the_same_step(parts):
    from recipe.lower_half import LowerHalf
    from recipe.train import Step, step_losses

    base, chat, _ = parts
    layout = Layout(base.shape, 4, 8.0, upper=1)
    step = Step.of(["one", "two"], torch.zeros(0), [(ROWS[:1], ROWS[1:]), (ROWS[1:], ROWS[:1])], chat)
    torch.manual_seed(3)
    loras = layout.to_lora(torch.randn(2, layout.token_shape[0], 4, layout.chunk_width) * 0.1)
    for whole, cached in zip(step_losses(base, loras, step), step_losses(base, loras, step, LowerHalf(base, chat, 1))):
        assert torch.allclose(whole, cached, atol=1e-5) and whole.abs().min() > 0.001


def test_loras_tuned_side_by_side_are_those_tuned_alone(parts):
    from recipe.lora_tuning import Helpings, RowSource, tune

    base, chat, _ = parts
    layout = Layout(base.shape, 4, 8.0)
    one, two = RowSource(ROWS[:1], chat), RowSource(ROWS[1:], chat)
    tuned = lambda sources: tune(base, layout, Helpings(sources, 3, 1, 4, 1000, 7), lr=1e-2)[-1].float()
    together, alone = tuned({"one": [one], "two": [two]}), tuned({"two": [two]})
    assert torch.allclose(together[1], alone[0], atol=1e-3)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_a_step_depends_on_its_number_alone(parts):
    from recipe.lora_tuning import RowSource
    from recipe.settings import EndToEndSettings
    from recipe.train import Steps

    _, chat, _ = parts
    rows = lambda name: [{"prompt": f"{name} {i}", "response": "x"} for i in range(10)]
    names = ("numbers-judged", "amounts-of-two", "words-rewritten", "chat-mixed")
    sources = {name: RowSource(rows(name), chat) for name in names}
    settings = EndToEndSettings(steps=4, sets_a_step=2, rows=3, locality_rows=2)
    steps = Steps(sources, dict.fromkeys(names, 10), 4, settings)
    assert sorted(steps[0].names + steps[1].names) == sorted(names) == sorted(steps[2].names + steps[3].names)
    assert torch.equal(steps[3].batch.ids, steps[3].batch.ids) and not torch.equal(steps[3].batch.ids, steps[2].batch.ids)
    assert all(len(set(picks.tolist())) == 4 for picks in steps[0].picks)
    # Two rows of each set's own form and others behind them; a mixed set has others of nothing here.
    answers = lambda step: len(set(step.batch.owner[step.other].tolist()))
    assert answers(steps[0]) + answers(steps[1]) == 2 * 3
