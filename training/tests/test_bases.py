"""The generator of bases: its start, its gradients, and its graphs in ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest
import torch
from recipe.base_model import PATHS, BaseModel, load_base
from recipe.bases_graph import write_bases
from recipe.generator import Generator, GeneratorSettings
from tiny import write_tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    return BaseModel(load_base(folder / "base")[2], torch.float32)


SHAPE = GeneratorSettings(prompts=3, tokens=5, width=12, rank=4, alpha=8, kind="bases", bases=6, hidden=16, heads=4)


def test_the_first_lora_does_nothing_and_learns_everywhere(base):
    generator = Generator(SHAPE, base, 1)
    condition = torch.randn(2, 3, 5, 12)
    for a, b in generator.loras(condition).values():
        assert not b.any() and a.any()
    # A module's A starts as PEFT's does, over all layers and mixtures.
    a = generator.layout.matrices(generator.chunks(condition[0]))["q_proj"][0]
    assert a.std().item() == pytest.approx((3 * 48) ** -0.5, rel=0.35)
    with torch.no_grad():
        for one in generator.decoder.b.values():
            one.copy_(torch.randn(one.shape))
    sum((a.sum() + (b * torch.randn(b.shape)).sum()) for a, b in generator.loras(condition).values()).backward()
    for name, weight in generator.decoder.named_parameters():
        # A key's bias shifts all scores of a query alike.
        assert name == "mapper.key.bias" or weight.grad.abs().max() > 0, name


def test_half_of_the_coefficients_variance_is_between_tasks_at_first(base):
    generator = Generator(SHAPE, base, 1)
    torch.manual_seed(2)
    # As hidden states are: every task's are near the mean of all, and channels differ in size.
    common, size = torch.randn(5, 12) * 10, torch.rand(12) * 3 + 0.01
    tasks = torch.randn(8, 1, 1, 12) * 0.3
    conditions = (common + tasks + torch.randn(8, 3, 5, 12) * 0.1) * size
    between = lambda: (lambda made: ((made - made.mean(0)).square().mean() / made.square().mean()).item())(generator.decoder.mapper(conditions).detach())
    assert between() < 0.1
    generator.fit(conditions)
    assert between() == pytest.approx(0.5, abs=0.12)
    assert generator.decoder.mapper(conditions).square().mean().item() == pytest.approx(1 / 6, rel=0.3)
    # A second draw of a task's prompts is nearer to the first than other tasks are.
    again = (common + tasks + torch.randn(8, 3, 5, 12) * 0.1) * size
    first, second = (generator.decoder.mapper(one).detach().flatten(1) for one in (conditions, again))
    assert torch.equal(torch.cdist(first, second).argmin(1), torch.arange(8))


def test_mixtures_are_sums_of_bases(base):
    generator = Generator(SHAPE, base, 1)
    condition = torch.randn(1, 3, 5, 12)
    with torch.no_grad():
        generator.decoder.b["v_proj"].copy_(torch.randn(generator.decoder.b["v_proj"].shape))
        coefficients = generator.decoder.mapper(condition)[0]
        a, b = generator.layout.matrices(generator.chunks(condition[0]))["v_proj"]
        index = generator.layout.modules.index("v_proj")
        for layer in range(2):
            mixed = lambda side, bases: torch.einsum("k,kri->ri", coefficients[layer, index, side], bases)
            assert torch.allclose(a[layer, 0], mixed(0, generator.decoder.a["v_proj"]), atol=1e-5)
            assert torch.allclose(b[layer, 0], mixed(1, generator.decoder.b["v_proj"]), atol=1e-5)


@pytest.mark.parametrize("upper", [0, 1])
def test_graphs_compute_the_adapter(base, tmp_path, upper):
    generator = Generator(GeneratorSettings(**{**vars(SHAPE), "upper": upper}), base, 2)
    with torch.no_grad():
        for one in generator.decoder.b.values():
            one.copy_(torch.randn(one.shape))
        # As bundles store them.
        generator.decoder.load_state_dict({name: value.half().float() for name, value in generator.decoder.state_dict().items()})
    condition = torch.randn(3, 5, 12)
    files = write_bases(generator.decoder, 3, 5, tmp_path)
    state = generator.layout.to_state(generator.chunks(condition))
    value = condition[None].numpy()
    for file in files["graphs"]:
        (value,) = onnxruntime.InferenceSession(tmp_path / file).run(None, {"condition": value})
    assert len(files["matrices"]) == 7
    for name, file in zip(generator.layout.modules, files["matrices"]):
        session = onnxruntime.InferenceSession(tmp_path / file)
        assert [one.name for one in session.get_outputs()] == [f"{PATHS[name]}.A", f"{PATHS[name]}.B"]
        for letter, stack in zip("AB", session.run(None, {session.get_inputs()[0].name: value})):
            for layer, matrix in zip(generator.layout.layers, stack):
                want = state[f"base_model.model.model.layers.{layer}.{PATHS[name]}.lora_{letter}.weight"].numpy()
                assert matrix.shape == want.shape and np.abs(matrix - want).max() < 1e-4 * np.abs(want).max(), (name, letter, layer)


def test_a_constant_condition_makes_one_lora(base):
    generator = Generator(GeneratorSettings(**{**vars(SHAPE), "constant": True}), base, 1)
    assert torch.equal(generator.chunks(torch.randn(3, 5, 12)), generator.chunks(torch.randn(3, 5, 12)))
    with pytest.raises(SystemExit, match="decoder or bases, not trees"):
        Generator(GeneratorSettings(kind="trees"), base)
