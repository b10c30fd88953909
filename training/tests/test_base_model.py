"""The base's forward pass against transformers and PEFT."""


import pytest
import torch
from recipe.base_model import MODULES, BaseModel, load_base
from recipe.data import Encoder
from recipe.layout import Layout
from tiny import write_tiny


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    _, tokenizer, model = load_base(folder / "base")
    # Weights far from their start, so that attention is not flat.
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return BaseModel(model, torch.float32), Encoder(tokenizer), model


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
    got = base.target_nll(chat.batch(ROWS), None)
    want = [nll for row in ROWS for nll in reference(model, chat.prefix + chat.prompt(row), chat.answer(row["response"]))]
    assert torch.allclose(got, torch.tensor(want), atol=2e-5)


@torch.no_grad()
def test_candidates_do_not_see_each_other(parts):
    base, chat, model = parts
    batch = chat.batch(ROWS, [row["choices"] for row in ROWS])
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
    got = base.target_nll(chat.batch(ROWS, instructed=True), None)
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
        got = base.target_nll(chat.batch(ROWS), layout.to_lora(chunks))
        want = [n for row in ROWS for n in reference(peft, chat.prefix + chat.prompt(row), chat.answer(row["response"]))]
    assert torch.allclose(got, torch.tensor(want), atol=5e-5)
    assert (got - base.target_nll(chat.batch(ROWS), None)).abs().max() > 0.01


def test_gradients_reach_every_matrix(parts):
    base, chat, _ = parts
    layout = Layout(base.shape, 4, 8.0)
    chunks = (torch.randn(layout.token_shape[0], 4, layout.chunk_width) * 0.1).requires_grad_()
    base.target_nll(chat.batch(ROWS), layout.to_lora(chunks)).mean().backward()
    assert (chunks.grad.abs().amax((1, 2)) > 0).all()


def test_locality_is_measured_on_the_other_rows_alone(parts):
    from recipe.train import _losses

    base, chat, _ = parts
    layout = Layout(base.shape, 4, 8.0)
    nothing = layout.to_lora(torch.zeros(layout.token_shape[0], 4, layout.chunk_width))
    loss, moved = _losses(base, chat, nothing, ROWS[:1], ROWS[1:])
    assert loss.item() == pytest.approx(base.target_nll(chat.batch(ROWS[:1]), None).mean().item(), abs=1e-5)
    assert abs(moved.item()) < 1e-5
    torch.manual_seed(3)
    something = layout.to_lora(torch.randn(layout.token_shape[0], 4, layout.chunk_width) * 0.1)
    assert _losses(base, chat, something, ROWS[:1], ROWS[1:])[1].item() > 0.01


def test_rows_come_in_epochs(parts):
    from recipe.lora_tuning import RowSource

    _, chat, _ = parts
    source = RowSource([{"prompt": str(i), "response": "x"} for i in range(10)], chat, "seed")
    taken = [row["prompt"] for _ in range(4) for row in source.take(5, 10_000)]
    assert sorted(taken[:10]) == sorted(taken[10:]) == [str(i) for i in range(10)]
