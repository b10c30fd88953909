"""Checks reference.py against the published modules' numbers in test/golden: `python bench/pytorch/check_reference.py`."""

from pathlib import Path

import torch

import reference

GOLDEN = Path(__file__).parents[2] / "test" / "golden"
# The stored numbers are float32.
TOLERANCE = 1e-6
# And a chunk's deviation is a small difference of large numbers, of which float32 loses some digits.
ADAPTER_TOLERANCE = 1e-5
ORDER = ("q", "k", "v", "o", "up", "gate", "down")
# Width of a chunk and of the modules above, in and out, of the two bases whose tokens are stored (spec §3.1).
BASES = {
    "qwen2.5-0.5b": (8, 128, ((896, 896), (896, 128), (896, 128), (896, 896), (896, 4864), (896, 4864), (4864, 896))),
    "qwen2.5-1.5b": (16, 256, ((1536, 1536), (1536, 256), (1536, 256), (1536, 1536), (1536, 8960), (1536, 8960), (8960, 1536))),
}


def error(actual, expected):
    return float((actual.double() - expected.reshape(actual.shape)).abs().max() / expected.abs().max())


def report(what, found, tolerance=TOLERANCE):
    print(f"{what}: {found:.1e}")
    assert found < tolerance


def check_decoder(name, dtype):
    checkpoint = reference.Checkpoint(GOLDEN / f"{name}.safetensors")
    x = checkpoint.read("golden.condition", dtype, "cpu")
    for part in reference.parts(checkpoint, dtype, "cpu"):
        x = part(x)
    report(f"{name}, {dtype}", error(x, checkpoint.read("golden.output", torch.float64, "cpu")))


def check_adapter(base):
    rank, width, shapes = BASES[base]
    path = lambda name: f"{'mlp' if name in ('up', 'gate', 'down') else 'self_attn'}.{name}_proj"
    modules = [{"path": path(name), "in": i, "out": o} for name, (i, o) in zip(ORDER, shapes)]
    layout = {"rank": rank, "chunkWidth": width, "layers": 1, "layerPath": "model.layers", "modules": modules}
    golden = reference.Checkpoint(GOLDEN / f"tokens-{base}-layer0.safetensors")
    read = lambda name: golden.read(name, torch.float64, "cpu")
    tensors = reference.adapter(read("tokens"), layout)
    assert {f"float32.{name}" for name in tensors} == {name for name in golden.entries if name.startswith("float32.")}
    found = max(error(tensor, read(f"float32.{name}")) for name, tensor in tensors.items())
    report(f"adapter of {base}", found, ADAPTER_TOLERANCE)


with torch.inference_mode():
    for name in ("decoder-small", "decoder-projected"):
        check_decoder(name, torch.float32)
        check_decoder(name, torch.float64)
    for base in BASES:
        check_adapter(base)
    reference.STRIP_BYTES = 1
    check_decoder("decoder-small", torch.float64)
