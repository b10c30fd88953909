"""Decoder, weight tokens and encoder against the published modules' numbers, and against ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from recipe.base_model import BaseShape
from recipe.decoder import Decoder
from recipe.encoder import TextEncoder
from recipe.encoder_graph import write_encoder
from recipe.layout import Layout
from recipe.scoring import Bootstrap, interval
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import write_tiny

GOLDEN = Path(__file__).parents[2] / "test" / "golden"


@torch.no_grad()
def test_the_decoder_is_the_published_one():
    path = GOLDEN / "decoder-small.safetensors"
    tensors, about = load_file(path), safe_open(path, "pt").metadata()
    decoder = Decoder(json.loads(about["features"]), int(about["kernel_size"]))
    prefix = "model.decoder."
    decoder.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    assert any(layer.residual for layer in decoder.module_list)
    assert torch.allclose(decoder(tensors["golden.condition"]), tensors["golden.output"], atol=2e-6)
    assert all(name in tensors for name in decoder.published_state())


def test_weight_tokens_are_the_published_ones():
    tensors = load_file(GOLDEN / "tokens-qwen2.5-0.5b-layer0.safetensors")
    layout = Layout(BaseShape(1, 896, 14, 2, 64, 4864))
    chunks = layout.decode(tensors["tokens"])
    state = layout.to_state(chunks)
    for name, value in state.items():
        assert torch.allclose(value, tensors[f"float32.{name}"], atol=1e-6), name
    assert torch.allclose(layout.decode(layout.encode(chunks)), chunks, atol=1e-6)
    assert torch.equal(layout.to_chunks(state), chunks)


def test_a_token_of_zeros_is_a_chunk_of_zeros():
    layout = Layout(BaseShape(1, 48, 6, 2, 8, 64), 4)
    assert torch.equal(layout.decode(torch.zeros(layout.token_shape)), torch.zeros(layout.token_shape[0], 4, layout.chunk_width))
    assert layout.encode(torch.zeros(1, 4, layout.chunk_width)).isnan().any()


def test_the_graph_computes_what_the_encoder_does(tmp_path):
    write_tiny(tmp_path)
    encoder = TextEncoder(tmp_path / "encoder", 2, 16)
    write_encoder(encoder, tmp_path / "graph")
    prompts = ["short", "a prompt that is certainly longer than sixteen tokens, so that it has to be cut somewhere before its end"]
    want = encoder(prompts, full=True).numpy()
    encoded = encoder.tokenizer.encode_batch(prompts)
    session = onnxruntime.InferenceSession(tmp_path / "graph" / "model.onnx")
    inputs = {"input_ids": [one.ids for one in encoded], "attention_mask": [one.attention_mask for one in encoded]}
    (got,) = session.run(None, {name: np.array(value) for name, value in inputs.items()})
    assert np.abs(got - want).max() < 1e-5


def test_intervals_cover_the_mean_and_draws_widen_them():
    values = np.random.default_rng(0).normal(3, 1, (1, 400))
    bootstrap = Bootstrap(400)
    got = interval(values.mean(), bootstrap.means(values))
    assert got["low"] < values.mean() < got["high"]
    assert 0.15 < got["high"] - got["low"] < 0.25
    # Items of different weight count by it.
    weights = np.where(np.arange(400) < 100, 3.0, 1.0)
    assert bootstrap.means(np.ones((1, 400)), weights).mean() == pytest.approx(400 / weights.sum(), rel=0.02)
    # The same items and other adapters: differences between adapters show where these are draws alone.
    several = values + np.array([[-0.5], [0.0], [0.5]])
    fixed, drawn = (interval(several.mean(), bootstrap.means(several, drawn=flag)) for flag in (False, True))
    assert fixed["high"] - fixed["low"] == pytest.approx(got["high"] - got["low"], abs=1e-9)
    assert drawn["high"] - drawn["low"] > 0.6
