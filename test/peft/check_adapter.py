"""Loads an adapter directory with PEFT onto a model of its base's shapes and compares every tensor.

    python test/peft/check_adapter.py DIRECTORY [--architecture llama|qwen2|qwen2_5_vl] [--save DIRECTORY]
    python test/peft/check_adapter.py --known            every base of src/lora/bases.ts, in small (needs node)
    python test/peft/check_adapter.py --module-names     rewrites module-names.json, which a unit test compares with bases.ts

Needs Python with torch, transformers, peft and safetensors (`pip install torch transformers peft`). Nothing is
downloaded: the base is a randomly initialised model whose sizes are read off the adapter's own tensors. It checks that

- PEFT reports no missing and no unexpected key, and no module was left without its pair;
- every LoRA tensor of the loaded model equals the one in the file;
- the scale PEFT applies is alpha / r;
- the configuration PEFT reads back is the one it writes itself for such an adapter;
- every module that the configuration names is in the model, and no module outside the named layers carries a pair;
- the adapted model's output is finite and differs from the base's;
- saving the adapter with PEFT again gives the same tensors.

It is run by hand, or where a Python with peft exists; `npm test` does not need it. Exit status 0 means all of it held.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import peft
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PREFIX = "base_model.model."


def read_shapes(tensors):
    """Widths of the base, from the tensors of its first layer, and where its layers are."""
    places = {re.match(r"(.+)\.(\d+)\.(?:self_attn|mlp)\.", name).groups() for name in tensors}
    paths = {path for path, _ in places}
    assert len(paths) == 1, f"layers at more than one place: {sorted(paths)}"
    (path,) = paths
    layers = {int(layer) for _, layer in places}
    assert layers == set(range(len(layers))), f"layers are not 0 to {len(layers) - 1}: {sorted(layers)}"

    def width(module, side):
        name = f"{path}.0.{module}.lora_{side}.weight"
        assert name in tensors, f"missing: {name}"
        shape = tensors[name].shape
        return shape[1] if side == "A" else shape[0]

    return {
        "layers": len(layers),
        "hidden": width("self_attn.q_proj", "A"),
        "query": width("self_attn.q_proj", "B"),
        "kv": width("self_attn.k_proj", "B"),
        "ffn": width("mlp.up_proj", "B"),
    }


# A head of 64 numbers divides all published widths.
HEAD = 64


# The smallest vision towers of bases that hold more than a decoder; `hidden` is the decoder's width.
PATCHES = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}
PATCHES |= {"image_size": 28, "patch_size": 14}
QWEN = {"depth": 1, "hidden_size": 64, "num_heads": 1, "intermediate_size": 64, "out_hidden_size": "hidden"}
VISION = {
    "qwen2_vl": {"depth": 1, "embed_dim": 64, "hidden_size": "hidden", "num_heads": 1, "mlp_ratio": 1},
    "qwen2_5_vl": {**QWEN, "fullatt_block_indexes": [0]},
    "qwen3_vl": {**QWEN, "deepstack_visual_indexes": [0]},
    "gemma3": PATCHES,
    "mistral3": PATCHES,
    "llava": PATCHES,
}


def build_base(architecture, shapes, dtype):
    """A random model of these shapes in the adapter's dtype."""
    text = {
        "num_hidden_layers": shapes["layers"],
        "hidden_size": shapes["hidden"],
        "num_attention_heads": shapes["query"] // HEAD,
        "num_key_value_heads": shapes["kv"] // HEAD,
        "intermediate_size": shapes["ffn"],
        "vocab_size": 256,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    torch.manual_seed(0)
    if architecture not in VISION:
        config = transformers.AutoConfig.for_model(architecture, head_dim=HEAD, **text)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    vision = {key: shapes["hidden"] if value == "hidden" else value for key, value in VISION[architecture].items()}
    if architecture.startswith("qwen"):
        text["rope_parameters"] = {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6}
    config = transformers.AutoConfig.for_model(architecture, text_config=text, vision_config=vision)
    return transformers.AutoModelForImageTextToText.from_config(config, dtype=dtype).eval()


def same(left, right):
    return left.shape == right.shape and left.dtype == right.dtype and torch.equal(left, right)


def check(directory, architecture, save_to):
    tensors = load_file(directory / WEIGHTS)
    with safe_open(directory / WEIGHTS, "pt") as file:
        assert file.metadata() == {"format": "pt"}, f"metadata is {file.metadata()}"
    written = json.loads((directory / CONFIG).read_text())
    shapes = read_shapes(tensors)
    dtypes = {tensor.dtype for tensor in tensors.values()}
    assert len(dtypes) == 1, f"more than one dtype: {dtypes}"
    (dtype,) = dtypes
    base = build_base(architecture, shapes, dtype)
    ids = torch.arange(12).reshape(1, 12)
    with torch.no_grad():
        before = base(ids).logits

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = peft.PeftModel.from_pretrained(base, str(directory), autocast_adapter_dtype=False)
    # from_pretrained only warns of missing keys; loading once more returns both lists.
    again = peft.set_peft_model_state_dict(model, dict(tensors))
    assert not again.unexpected_keys, f"unexpected: {again.unexpected_keys[:5]}"
    missing = [key for key in again.missing_keys if "lora_" in key]
    assert not missing, f"missing: {missing[:5]}"

    loaded = {
        name.replace(".default.", "."): parameter.data
        for name, parameter in model.named_parameters()
        if "lora_" in name
    }
    assert loaded.keys() == tensors.keys(), f"differ: {sorted(loaded.keys() ^ tensors.keys())[:5]}"
    wrong = [name for name, tensor in tensors.items() if not same(tensor, loaded[name])]
    assert not wrong, f"loaded with other numbers: {wrong[:5]}"

    carriers = {name for name, module in base.named_modules() if isinstance(module, peft.tuners.lora.LoraLayer)}
    named = {name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in tensors}
    assert carriers == named, f"modules that carry a pair differ: {sorted(carriers ^ named)[:5]}"
    targets = written["target_modules"]
    lost = [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in carriers)]
    assert not lost, f"targets that the model does not have: {lost[:5]}"

    scales = {
        module.scaling["default"]
        for module in model.modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    assert scales == {written["lora_alpha"] / written["r"]}, f"scales are {scales}"

    reference = peft.LoraConfig(
        r=written["r"],
        lora_alpha=written["lora_alpha"],
        target_modules=written["target_modules"],
        task_type="CAUSAL_LM",
        base_model_name_or_path=written["base_model_name_or_path"],
        inference_mode=True,
    ).to_dict()
    read = peft.LoraConfig.from_pretrained(str(directory)).to_dict()
    differing = [key for key in reference if key != "peft_version" and reference[key] != read[key]]
    assert not differing, f"configuration differs from PEFT's own in {differing}"

    with torch.no_grad():
        after = model(ids).logits
    assert torch.isfinite(after).all(), "the adapted model's output is not finite"
    change = (after - before).abs().max().item()
    assert change > 0, "the adapter changes nothing"

    target = pathlib.Path(save_to)
    model.save_pretrained(target, save_embedding_layers=False)
    saved = load_file(target / WEIGHTS)
    assert saved.keys() == tensors.keys(), "PEFT saves other names"
    assert all(same(saved[name], tensor) for name, tensor in tensors.items()), "PEFT saves other numbers"
    identical = (target / WEIGHTS).read_bytes() == (directory / WEIGHTS).read_bytes()

    print(f"PEFT {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
    print(f"base: random {architecture}, {shapes}")
    print(f"{len(tensors)} tensors of {str(dtype).removeprefix('torch.')}: no key missing or unexpected, all equal, scale {scales.pop()}")
    print(f"largest change of a logit: {change:.3g}; saved again by PEFT: {'same bytes' if identical else 'same tensors'}")


def check_known(scratch):
    """A small adapter for each known base, written by the code that writes the real ones."""
    writer = pathlib.Path(__file__).with_name("write-adapters.ts")
    told = subprocess.run(["node", str(writer), scratch], check=True, capture_output=True, text=True).stdout
    for line in told.splitlines():
        alias, architecture = line.split()
        print(f"== {alias}")
        check(pathlib.Path(scratch) / alias, architecture, pathlib.Path(scratch) / f"{alias}-saved")


# Architectures whose module names are recorded: those of the known bases, and Llama types that `--layout` files describe.
RECORDED = sorted(["gemma2", "llama", "mistral", "qwen2", "qwen3", *VISION])


def record_module_names():
    """The linear modules of the last of two layers, of each architecture, as transformers names them."""
    shapes = {"layers": 2, "hidden": 128, "query": 128, "kv": 64, "ffn": 256}
    names = {}
    for architecture in RECORDED:
        model = build_base(architecture, shapes, torch.float32)
        linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        found = [re.fullmatch(r"(.*\.layers)\.1\.(.+)", name) for name in linear]
        paths = {match.group(1) for match in found if match}
        assert len(paths) == 1, f"{architecture}: {paths}"
        names[architecture] = {"layerPath": paths.pop(), "modules": sorted(match.group(2) for match in found if match)}
    record = {"transformers": transformers.__version__, "architectures": names}
    pathlib.Path(__file__).with_name("module-names.json").write_text(json.dumps(record, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=pathlib.Path, help=f"holds {WEIGHTS} and {CONFIG}")
    parser.add_argument("--architecture", default="llama", help="type of the base: llama (default), qwen2, qwen2_5_vl")
    parser.add_argument("--save", type=pathlib.Path, help="keep what PEFT saves again; a temporary place if absent")
    parser.add_argument("--known", action="store_true", help="check a small adapter for every known base")
    parser.add_argument("--module-names", action="store_true", help="rewrite module-names.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            if options.module_names:
                record_module_names()
            elif options.known:
                check_known(scratch)
            elif options.directory is None:
                parser.error("name the adapter's directory, or --known")
            else:
                check(options.directory, options.architecture, options.save or scratch)
        except AssertionError as failure:
            sys.exit(f"FAILED: {failure}")


if __name__ == "__main__":
    main()
