"""Greedy decoding against transformers, and LoRAs of upper layers alone, over cached states of the others."""

import pytest
import torch
from recipe.data import Encoder
from recipe.decoding import MAX_TOKENS, answers
from recipe.layout import Layout
from recipe.lora_tuning import Helpings, RowSource, tune
from recipe.lower_half import LowerHalf
from tiny import steep_base


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return steep_base(tmp_path_factory.mktemp("tiny"))


PROMPTS = ["is 7 odd?", "a much longer question, is it not?", "word", "one, two, three"]


def reference_ids(model, encoder, prompt, limit):
    ids = encoder.prefix + encoder.tokens(prompt + encoder.tail)
    made = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=limit, eos_token_id=encoder.end, pad_token_id=encoder.end)
    return made[0, len(ids) :].tolist()


def reference(model, encoder, prompt, limit):
    return encoder.tokenizer.decode(reference_ids(model, encoder, prompt, limit), skip_special_tokens=True)


def random_lora(layout, count=1, seed=3):
    torch.manual_seed(seed)
    return torch.randn(count, layout.token_shape[0], layout.rank, layout.chunk_width) * 0.1


@torch.no_grad()
def test_answers_are_those_of_transformers(parts, monkeypatch):
    base, encoder, model = parts
    want = [reference(model, encoder, prompt, 12) for prompt in PROMPTS]
    assert answers(base, encoder, [PROMPTS], None, [12])[0] == want and len(set(want)) > 1
    # In several batches, and two groups with a limit each.
    monkeypatch.setitem(MAX_TOKENS, "cpu", 60)
    assert answers(base, encoder, [PROMPTS, PROMPTS[::-1]], None, [12, 5]) == [want, [reference(model, encoder, one, 5) for one in PROMPTS[::-1]]]


@torch.no_grad()
def test_an_answer_ends_with_its_turn(parts):
    base, encoder, model = parts
    ids = reference_ids(model, encoder, PROMPTS[1], 12)
    ending = Encoder(encoder.tokenizer)
    # The first token that was not there before, as if it ended the turn.
    at = next(index for index, token in enumerate(ids) if index and token not in ids[:index])
    ending.end = ids[at]
    assert answers(base, ending, [PROMPTS[1:2]], None, [12]) == [[encoder.tokenizer.decode(ids[:at])]]


@torch.no_grad()
@pytest.mark.parametrize("upper", [0, 1])
def test_every_group_answers_with_its_lora(parts, upper):
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    base, encoder, model = parts
    layout = Layout(base.shape, 4, 8.0, upper=upper)
    chunks = random_lora(layout, 2)
    want = []
    for one in chunks:
        config = LoraConfig(r=4, lora_alpha=8, target_modules=list(layout.targets), layers_to_transform=list(layout.layers), task_type="CAUSAL_LM")
        peft = get_peft_model(deepcopy(model), config).eval()
        assert not set_peft_model_state_dict(peft, layout.to_state(one)).unexpected_keys
        want.append([reference(peft, encoder, prompt, 8) for prompt in PROMPTS])
    assert answers(base, encoder, [PROMPTS, PROMPTS], layout.to_lora(chunks), [8, 8]) == want
    assert want[0] != want[1]
    assert torch.equal(layout.to_chunks(layout.to_state(chunks[0])), chunks[0])


ROWS = [{"prompt": prompt, "response": answer} for prompt, answer in zip(PROMPTS, ("[True]", "no", "word word", "one"))]


def test_cached_states_of_lower_layers_change_nothing(parts, monkeypatch):
    base, encoder, _ = parts
    layout = Layout(base.shape, 4, 8.0, upper=1)
    lower = LowerHalf(base, encoder, 1)
    groups = [ROWS[1:3], ROWS]
    lora = layout.to_lora(random_lora(layout, 2).requires_grad_())
    batch = encoder.batch(groups)
    whole, cached = base.target_nll(batch, lora), base.target_nll(batch, lora, lower.states(groups))
    assert torch.allclose(whole, cached, atol=1e-5)
    tuned = lambda kept: tune(base, layout, Helpings({"one": [RowSource(ROWS, encoder)]}, 3, 1, 4, 1000, 7), lr=1e-2, lower=kept)[-1].float()
    assert torch.allclose(tuned(lower), tuned(None), atol=1e-3)
    # What was computed once is looked up, and all of it forgotten before there is too much.
    monkeypatch.setattr(base, "through", None)
    assert torch.equal(lower.states(groups).states, lower.states(groups).states)
    monkeypatch.undo()
    monkeypatch.setattr("recipe.lower_half.KEPT_TOKENS", lower.tokens + 1)
    lower.states([[{"prompt": "another one", "response": "yes"}]])
    assert len(lower.kept) == 1
