"""The hypernetwork of Text-to-LoRA in plain PyTorch, eager and float32: the peer of `npm run bench -- text-to-lora`.

    python hypernetwork.py --checkpoint FILE.safetensors --condition FILE --modules JSON --rank R --threads N

`--modules` is `[{"name", "in", "out"}, ...]` in the order of the module embedding; the condition is raw float32, the encoder's
state of a description's first token. Requests are JSON lines, as of `reference.py`:

    {"do": "generate"}                condition -> A and B of every module, kept until the next run
    {"do": "compare", "file": FILE}   the largest difference of any module's A or B to FILE's, relative to its
                                      largest magnitude; FILE is raw float32 in that order
"""

import argparse
import json
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Hypernetwork:
    def __init__(self, path, modules, rank):
        self.t = load_file(path)
        self.modules = modules
        self.rank = rank

    def linear(self, name, x):
        return F.linear(x, self.t[f"{name}.weight"], self.t.get(f"{name}.bias"))

    def norm(self, name, x):
        weight = self.t[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, self.t[f"{name}.bias"], 1e-5)

    def block(self, name, x):
        return F.silu(self.linear(f"{name}.4", F.silu(self.linear(f"{name}.1", x))))

    def residual(self, name, x):
        return x + self.block(f"{name}.mlp", self.norm(f"{name}.mlp.0", x))

    def generate(self, condition):
        embedding = F.normalize(condition[None]) * condition.shape[-1] ** 0.5
        task = self.norm("task_encoder.mlp.1", self.linear("task_encoder.mlp.0", embedding))
        depth = self.norm("layer_depth_encoder.1", self.t["layer_depth_encoder.0.weight"])
        types = self.norm("layer_type_encoder.1", self.t["layer_type_encoder.0.weight"])
        layers = depth.shape[0]
        made = []
        for index, module in enumerate(self.modules):
            latent = torch.cat([task.expand(layers, -1), depth, types[index].expand(layers, -1)], -1)
            x = self.residual("mlp2", self.residual("mlp1", self.block("mixer", latent)))
            numbers = self.linear(f"heads.{module['name']}", self.block("mlp3", self.norm("mlp3.0", x)))
            a, b = numbers.split([self.rank * module["in"], self.rank * module["out"]], -1)
            made.append(a.reshape(layers, self.rank, -1).contiguous())
            made.append(b.reshape(layers, self.rank, -1).transpose(1, 2).contiguous())
        return made


def main():
    parser = argparse.ArgumentParser()
    for name in ("checkpoint", "condition", "modules"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = Hypernetwork(options.checkpoint, json.loads(options.modules), options.rank)
    condition = torch.from_numpy(np.fromfile(options.condition, "<f4"))
    answer({"torch": torch.__version__})
    made = []
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "generate":
            started = time.perf_counter()
            with torch.inference_mode():
                made = network.generate(condition)
            answer({"seconds": time.perf_counter() - started})
        else:
            flat = np.fromfile(request["file"], "<f4")
            sizes = [tensor.numel() for tensor in made]
            parts = np.split(flat, np.cumsum(sizes)[:-1])
            pairs = zip(made, parts, strict=True)
            apart = (np.abs(ours.numpy().ravel() - theirs).max() / ours.abs().max().item() for ours, theirs in pairs)
            answer({"difference": float(max(apart))})


def answer(values):
    print(json.dumps({**values, "peakBytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
