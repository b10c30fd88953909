"""Measures how far the adapters of two bundles differ that share a decoder, such as one with an int8 encoder.

    python test/encoder/compare_adapters.py BUNDLE OTHER PROMPTS [--seed N]

Needs Python with safetensors and numpy; `node` is the one that runs Loradrop. Generates one float32 adapter with each bundle from
the same prompts and prints, over all tensors and for the worst one, the root of the mean square of the difference over that of
the first adapter; the same for the weight changes B·A, which are what a model gets. It is run by hand; `npm test` does not
need it.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file

MAIN = pathlib.Path(__file__).parents[2] / "src" / "main.ts"


def adapter_of(bundle, options, directory):
    out = pathlib.Path(directory, bundle.name)
    arguments = ["--bundle", bundle, "--prompts", options.prompts, "--out", out, "--dtype", "f32", "--seed", str(options.seed)]
    subprocess.run(["node", MAIN, "generate", *arguments], check=True)
    return load_file(out / "adapter_model.safetensors")


def relative(pairs):
    """Over all of them, and the worst: (name, first, second) each."""
    squares = [(name, np.sum((a - b) ** 2, dtype=np.float64), np.sum(a**2, dtype=np.float64)) for name, a, b in pairs]
    worst = max(squares, key=lambda entry: entry[1] / entry[2])
    total = np.sqrt(sum(entry[1] for entry in squares) / sum(entry[2] for entry in squares))
    return f"{total:.2e}, worst {np.sqrt(worst[1] / worst[2]):.2e} ({worst[0]})"


def changes(first, second):
    for name in first:
        if ".lora_A." in name:
            other = name.replace(".lora_A.", ".lora_B.")
            yield name.split(".lora_A.")[0], first[other] @ first[name], second[other] @ second[name]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("other", type=pathlib.Path)
    parser.add_argument("prompts", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        first, second = (adapter_of(bundle, options, directory) for bundle in (options.bundle, options.other))
    print("tensors:", relative([(name, first[name], second[name]) for name in first]))
    print("B·A:", relative(changes(first, second)))


main()
