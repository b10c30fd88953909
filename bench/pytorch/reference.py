"""The peer that Loradrop is measured against: the decoder in plain PyTorch, written from the spec alone.

It reads requests as JSON lines from standard input and answers each with one JSON line on standard output:

    {"do": "decode"}                     condition -> weight tokens, kept until the next run
    {"do": "generate", "out": FILE}      the same, then adapter tensors, then FILE as bf16 safetensors
    {"do": "encode", "prompts": FILE, "out": FILE}   a JSON list of prompts -> hidden states as raw float32
    {"do": "multiply"}                   a large matrix product: its floating-point operations a second, the best of some
    {"do": "save", "out": FILE}          the last tokens as raw float64
    {"do": "compare", "file": FILE or "tokens": FILE, "to": FILE or null}
                                         an adapter, or that of raw float64 tokens, against that of other raw tokens, or the
                                         last
    {"do": "compare-adapters", "files": [FILE, FILE]}    two safetensors files, tensor by tensor
    {"do": "compare-raw", "files": [FILE, FILE]}         two files of raw float32, each as one tensor

Every answer has "peakBytes", the process's largest resident size so far; runs have "seconds". The end of the input ends
the process. A failure goes to standard error, with exit status 1.
"""

import argparse
import json
import os
import re
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
LAYERS = "model.decoder.module_list."
# Bytes of unfolded patches a float64 convolution may make at once: PyTorch has no better algorithm for it on a CPU.
STRIP_BYTES = 1 << 29


class Checkpoint:
    """A safetensors file, read tensor by tensor into memory of the tensor's own: a mapped file would count twice."""

    def __init__(self, path):
        self.file = open(path, "rb")
        length = int.from_bytes(self.file.read(8), "little")
        self.start = 8 + length
        self.entries = {k: v for k, v in json.loads(self.file.read(length)).items() if k != "__metadata__"}

    def read(self, name, dtype, device):
        entry = self.entries[name]
        tensor = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
        view = memoryview(tensor.flatten().view(torch.uint8).numpy())
        self.file.seek(self.start + entry["data_offsets"][0])
        done = 0
        while done < len(view):
            done += self.file.readinto(view[done : done + (1 << 30)])
        return tensor.to(device=device, dtype=dtype)

    def __contains__(self, name):
        return name in self.entries

    def layers(self):
        return len({name.split(".")[3] for name in self.entries if name.startswith(LAYERS)})


def convolve(x, weight, bias=None):
    """Zero-padded, same size. In float64 strip by strip, so that the patches do not fill the memory."""
    pad = weight.shape[-1] // 2
    if x.dtype != torch.float64 or x.is_cuda:
        return F.conv2d(x, weight, bias, padding=pad)
    rows, columns = x.shape[-2:]
    row_bytes = weight[0].numel() * columns * 8
    step = max(1, STRIP_BYTES // row_bytes)
    padded = F.pad(x, (pad, pad, pad, pad))
    strips = [padded[..., at : min(rows, at + step) + 2 * pad, :] for at in range(0, rows, step)]
    return torch.cat([F.conv2d(strip, weight, bias) for strip in strips], dim=-2)


class Layer(nn.Module):
    """One layer of the cascade, [B, N, L, C] -> [B, N', L', C'] (spec §2.1, §2.2)."""

    def __init__(self, read, index):
        super().__init__()
        prefix = f"{LAYERS}{index}."
        weight = lambda name: nn.Parameter(read(prefix + name), requires_grad=False)
        self.norm_weight = weight("linear1.norm.weight")
        self.norm_bias = weight("linear1.norm.bias")
        self.conv1w = weight("linear1.conv1w.weight")
        self.conv1h = weight("linear1.conv1h.weight")
        self.conv2h = weight("linear1.conv2h.weight")
        self.conv2w = weight("linear1.conv2w.weight")
        self.bias = weight("linear1.bias")
        self.fuse = weight("linear2.weight")
        self.fuse_bias = weight("linear2.bias")

    def forward(self, x):
        normed = F.layer_norm(x, x.shape[-2:], self.norm_weight, self.norm_bias, 1e-5)
        width_first = convolve(normed.permute(0, 3, 2, 1), self.conv1w)  # [B, C', L, N]
        width_first = convolve(width_first.permute(0, 2, 3, 1), self.conv1h)  # [B, L', N, C']
        height_first = convolve(normed.permute(0, 2, 1, 3), self.conv2h)  # [B, L', N, C]
        height_first = convolve(height_first.permute(0, 3, 1, 2), self.conv2w)  # [B, C', L', N]
        both = width_first.permute(0, 2, 1, 3) + torch.tanh(height_first.permute(0, 3, 2, 1))
        y = convolve((both + self.bias) / 3, self.fuse, self.fuse_bias)
        return y + x if y.shape == x.shape else y


class Projection(nn.Module):
    """The length projection, [B, N, Lt, C] -> [B, N, M, C] by reinterpretation (spec §1.4)."""

    def __init__(self, read):
        super().__init__()
        weight = lambda name: nn.Parameter(read(name), requires_grad=False)
        self.down, self.down_bias = weight("down_proj.weight"), weight("down_proj.bias")
        self.gate, self.gate_bias = weight("gate_proj.weight"), weight("gate_proj.bias")

    def forward(self, x):
        b, n, tokens, c = x.shape
        rows = F.linear(x.reshape(b, n, c, tokens), self.down, self.down_bias)
        return F.linear(rows, self.gate, self.gate_bias).reshape(b, n, -1, c)


def parts(checkpoint, dtype, device):
    """The modules of a decoder, one after the other."""
    read = lambda name: checkpoint.read(name, dtype, device)
    if "down_proj.weight" in checkpoint:
        yield Projection(read)
    for index in range(checkpoint.layers()):
        yield Layer(read, index)


def scaled_chunks(tokens, rank, width):
    """Weight tokens [T, rank + 2, width + 2] -> chunks [T, rank, width] (spec §3.4)."""
    last_rows = tokens[:, -2:, :].unflatten(2, (-1, 2)).mean(2)
    last_columns = tokens[:, :, -2:].unflatten(1, (-1, 2)).mean(1)
    scale = (last_rows + last_columns) / 2
    mean = (scale[:, 0, 0] / 8 + scale[:, 1, 0] / 8) / 2
    deviation = ((torch.exp(scale[:, :, 1] - 1.6) - 0.1) / 0.9).mean(1)
    return tokens[:, :rank, :width] * deviation[:, None, None] + mean[:, None, None]


def adapter(tokens, layout):
    """Weight tokens [T, H, W] -> the adapter's tensors by PEFT name (spec §3.2, §3.5)."""
    rank, width = layout["rank"], layout["chunkWidth"]
    chunks = scaled_chunks(tokens, rank, width)
    tensors, at = {}, 0
    for layer in range(layout["layers"]):
        for module in layout["modules"]:
            name = f"base_model.model.{layout['layerPath']}.{layer}.{module['path']}.lora_"
            for side, length in (("A", module["in"]), ("B", module["out"])):
                count = length // width
                matrix = chunks[at : at + count].permute(1, 0, 2).reshape(rank, length)
                tensors[f"{name}{side}.weight"] = matrix if side == "A" else matrix.T
                at += count
    assert at == len(tokens), "the layout is of another base"
    return tensors


def largest_difference(ours, theirs):
    """Of all tensors: the largest difference relative to the tensor's largest magnitude, and where it is."""
    assert ours.keys() == theirs.keys(), "the adapters have other tensors"
    worst, where = 0.0, ""
    for name, expected in theirs.items():
        expected = expected.double()
        error = float((ours[name].double() - expected).abs().max() / expected.abs().max())
        # A NaN compares with nothing and must not pass for a small difference.
        if not error <= worst:
            worst, where = error, name
    return {"difference": worst, "tensor": where}


def load_raw(path, dtype):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=dtype)


def peak_bytes():
    """The largest resident size so far. Linux's ru_maxrss would begin with that of the process before exec."""
    with open("/proc/self/status") as status:
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status.read(), re.MULTILINE).group(1)) * 1024


class Peer:
    def __init__(self, options):
        self.options = options
        self.device = torch.device(options.device)
        self.dtype = torch.float64 if options.dtype == "float64" else torch.float32
        self.layout = json.load(open(options.layout)) if options.layout else None
        self.tokens = None
        self.decoder = None
        self.encoder = None
        if options.checkpoint:
            self.checkpoint = Checkpoint(options.checkpoint)
            shape = [int(side) for side in options.shape.split(",")]
            self.condition = torch.from_file(options.condition, size=torch.Size(shape).numel()).reshape(shape)
            self.condition = self.condition.to(self.device, self.dtype, copy=True)
            # In float64 the weights are twice as large and used once: each layer is read when its turn comes.
            if self.dtype == torch.float32:
                self.decoder = nn.Sequential(*parts(self.checkpoint, self.dtype, self.device)).eval()
                if options.compile:
                    self.decoder = torch.compile(self.decoder)

    def run_decoder(self):
        x = self.condition
        if self.decoder is None:
            for part in parts(self.checkpoint, self.dtype, self.device):
                x = part(x)
            return x[0]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.dtype == "bf16"):
            return self.decoder(x)[0]

    def timed(self, work):
        started = time.perf_counter()
        result = work()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return result, time.perf_counter() - started

    def decode(self):
        self.tokens, seconds = self.timed(self.run_decoder)
        return {"seconds": seconds}

    def generate(self, out):
        from safetensors.torch import save_file

        self.tokens, seconds = self.timed(self.run_decoder)

        def write():
            tensors = adapter(self.tokens, self.layout)
            tensors = {name: tensor.to("cpu", torch.bfloat16).contiguous() for name, tensor in tensors.items()}
            save_file(tensors, out, metadata={"format": "pt"})

        _, write_seconds = self.timed(write)
        return {"seconds": seconds + write_seconds, "decodeSeconds": seconds}

    def encode(self, prompts, out):
        from transformers import AutoModel, AutoTokenizer

        if self.encoder is None:
            tokenizer = AutoTokenizer.from_pretrained(self.options.encoder)
            self.encoder = (tokenizer, AutoModel.from_pretrained(self.options.encoder).eval().to(self.device))
        tokenizer, model = self.encoder
        texts = json.load(open(prompts))
        length = self.options.tokens

        def work():
            inputs = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
            # Longer prompts run slice by slice (spec §1.3).
            slices = {name: value.reshape(-1, min(length, 512)) for name, value in inputs.items()}
            batches = range(0, len(slices["input_ids"]), 32)
            hidden = [
                model(**{name: value[at : at + 32].to(self.device) for name, value in slices.items()}).last_hidden_state
                for at in batches
            ]
            return torch.cat(hidden)

        hidden, seconds = self.timed(work)
        hidden.float().cpu().numpy().tofile(out)
        return {"seconds": seconds}

    def multiply(self):
        side = 4096 if self.device.type == "cuda" else 2048
        a = torch.rand(side, side, device=self.device)
        self.timed(lambda: a @ a)
        return {"flops": 2 * side**3 / min(self.timed(lambda: a @ a)[1] for _ in range(5))}

    def save(self, out):
        self.tokens.double().cpu().numpy().tofile(out)
        return {}

    def compare(self, to, file=None, tokens=None):
        from safetensors.torch import load_file

        rows, columns = self.layout["rank"] + 2, self.layout["chunkWidth"] + 2
        load = lambda path: load_raw(path, torch.float64).reshape(-1, rows, columns)
        expected = load(to) if to else self.tokens.double().cpu()
        found = load_file(file) if file else adapter(load(tokens), self.layout)
        return largest_difference(found, adapter(expected, self.layout))

    def compare_adapters(self, files):
        from safetensors.torch import load_file

        return largest_difference(*map(load_file, files))

    def compare_raw(self, files):
        return largest_difference(*({"all": load_raw(file, torch.float32)} for file in files))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="safetensors file with the decoder's state dict (spec §2.5)")
    parser.add_argument("--condition", help="raw float32 of the condition")
    parser.add_argument("--shape", help="its sides: 1,N,Lt,C")
    parser.add_argument("--layout", help="JSON with the adapter's layout, as in a bundle's manifest")
    parser.add_argument("--encoder", help="directory with a Hugging Face model, for encode")
    parser.add_argument("--tokens", type=int, help="Lt, for encode")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bf16", "float64"], default="float32", help="bf16 is autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile the decoder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    started = time.perf_counter()
    peer = Peer(options)

    def answer(result):
        result["peakBytes"] = peak_bytes()
        print(json.dumps(result), flush=True)

    version = torch.__version__
    answer({"ready": True, "torch": version, "threads": torch.get_num_threads(), "seconds": time.perf_counter() - started})
    for line in sys.stdin:
        request = json.loads(line)
        action = getattr(peer, request.pop("do").replace("-", "_"))
        with torch.inference_mode():
            answer(action(**request))


if __name__ == "__main__":
    main()
