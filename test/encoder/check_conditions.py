"""Compares the conditions that Loradrop makes of real prompts with those of an independent implementation.

    python test/encoder/check_conditions.py BUNDLE PROMPTS [--model DIRECTORY] [--limit N] [--tolerance X]

Needs Python with tokenizers, safetensors and numpy, and with transformers and torch for `--model`, else with onnxruntime.
PROMPTS is JSON lines or a JSON array of strings or of objects with `prompt`; `node` is the one that runs Loradrop. It checks

- the token ids of every prompt, exactly, against the Rust tokenizer with the bundle's length and padding;
- the hidden states: with `--model`, against the float32 model of that directory in PyTorch, with the attention that the
  bundle's mode of fully masked rows is named after (`zero`: scaled dot-product, `uniform`: eager); otherwise against the
  bundle's own graph in onnxruntime for Python, one slice at a time.

The difference is told as the root of its mean square over that of the reference, for tokens, for padding beside tokens and for
slices of padding alone. It is run by hand; `npm test` does not need it. Exit status 0 means all of it held.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer


def read_prompts(path, limit):
    text = path.read_text(encoding="utf-8-sig")
    items = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line.strip()]
    return [item if isinstance(item, str) else item["prompt"] for item in items[:limit]]


def conditions_of_loradrop(bundle, prompts):
    script = pathlib.Path(__file__).with_name("write-conditions.ts")
    with tempfile.TemporaryDirectory() as directory:
        source, out = pathlib.Path(directory, "prompts.json"), pathlib.Path(directory, "conditions.safetensors")
        source.write_text(json.dumps(prompts), encoding="utf-8")
        subprocess.run(["node", script, bundle, source, out], check=True)
        return load_file(out)


def tokenize(bundle, manifest, prompts):
    condition = manifest["condition"]
    tokenizer = Tokenizer.from_file(str(bundle / manifest["tokenizer"]["file"]))
    tokenizer.enable_truncation(condition["tokens"])
    tokenizer.enable_padding(length=condition["tokens"], pad_id=condition["padTokenId"])
    encodings = tokenizer.encode_batch(prompts)
    ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
    mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
    return ids, mask


def onnx_encoder(bundle, manifest):
    import onnxruntime

    encoder = manifest["encoder"]
    session = onnxruntime.InferenceSession(str(bundle / encoder["file"]), providers=["CPUExecutionProvider"])

    def encode(ids, mask):
        feeds = {encoder["inputs"]["ids"]: ids, encoder["inputs"]["mask"]: mask}
        if "tokenTypes" in encoder["inputs"]:
            feeds[encoder["inputs"]["tokenTypes"]] = np.zeros_like(ids)
        return session.run([encoder["output"]], feeds)[0]

    return encode


def torch_encoder(directory, mode):
    import torch
    import transformers

    attention = {"zero": "sdpa", "uniform": "eager"}[mode]
    model = transformers.AutoModel.from_pretrained(directory, attn_implementation=attention, dtype=torch.float32).eval()

    def encode(ids, mask):
        with torch.no_grad():
            return model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state.numpy()

    return encode


def relative(difference, reference):
    return float(np.sqrt(np.mean(difference**2) / np.mean(reference**2)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("prompts", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    options = parser.parse_args()

    manifest = json.loads((options.bundle / "bundle.json").read_text())
    condition = manifest["condition"]
    prompts = read_prompts(options.prompts, options.limit)
    found = conditions_of_loradrop(options.bundle, prompts)
    ids, mask = tokenize(options.bundle, manifest, prompts)
    differing = int((found["ids"].astype(np.int64) != ids).any(axis=1).sum())
    print(f"{len(prompts)} prompts of {mask.sum(axis=1).min()} to {mask.sum(axis=1).max()} tokens, padded to {condition['tokens']}")
    print(f"token ids: {differing} prompts differ")

    mode = condition["fullyMaskedAttention"]
    encode = torch_encoder(options.model, mode) if options.model else onnx_encoder(options.bundle, manifest)
    size = min(condition["tokens"], condition["encoderTokens"])
    slices = (ids.reshape(-1, size), mask.reshape(-1, size))
    reference = np.concatenate([encode(slices[0][i : i + 1], slices[1][i : i + 1]) for i in range(len(slices[0]))])
    difference = found["condition"].reshape(reference.shape) - reference

    empty = np.repeat(slices[1].max(axis=1, keepdims=True) == 0, size, axis=1)
    kinds = {
        "tokens": slices[1] == 1,
        "padding beside tokens": (slices[1] == 0) & ~empty,
        f"slices of padding alone ({mode})": empty,
        "all": np.ones_like(empty),
    }
    for kind, where in kinds.items():
        if where.any():
            largest = np.abs(difference[where]).max() / np.abs(reference).max()
            print(f"{kind}: relative RMS {relative(difference[where], reference[where]):.1e}, largest {largest:.1e} of the largest")
    worst = relative(difference, reference)
    return 0 if differing == 0 and worst <= options.tolerance else 1


sys.exit(main())
