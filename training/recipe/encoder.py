"""The text encoder: the first layers of all-MiniLM-L6-v2 with int8 weights, exactly as the exported graph computes it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix [rows, columns] -> int8 values and a float32 scale for every row, symmetric."""
    scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale


class TextEncoder:
    """Prompts -> the hidden state of every position [prompts, tokens, width], padding included, in float32."""

    def __init__(self, directory: Path, layers: int, tokens: int, device: torch.device | str = "cpu"):
        from tokenizers import Tokenizer
        from transformers import BertModel

        self.directory, self.tokens = Path(directory), tokens
        model = BertModel.from_pretrained(directory, add_pooling_layer=False, dtype=torch.float32).eval()
        model.encoder.layer = model.encoder.layer[:layers]
        model.config.num_hidden_layers = layers
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.dim() == 2:
                    values, scale = quantise(weight)
                    weight.copy_(values.float() * scale)
        self.model, self.device = model.to(device), torch.device(device)
        self.tokenizer = Tokenizer.from_file(str(self.directory / "tokenizer.json"))
        self.tokenizer.enable_truncation(tokens)
        self.tokenizer.enable_padding(length=tokens)

    @property
    def width(self) -> int:
        return self.model.config.hidden_size

    @torch.no_grad()
    def __call__(self, prompts: list[str], progress=None, full: bool = False) -> Tensor:
        """[prompts, tokens, width]: float16, or float32 with `full`."""
        out = torch.empty(len(prompts), self.tokens, self.width, dtype=torch.float32 if full else torch.float16)
        size = 64 if self.device.type == "cpu" else 1024
        for start in range(0, len(prompts), size):
            encoded = self.tokenizer.encode_batch(prompts[start : start + size])
            ids = torch.tensor([one.ids for one in encoded], device=self.device)
            mask = torch.tensor([one.attention_mask for one in encoded], device=self.device)
            out[start : start + size] = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.cpu()
            if progress:
                progress(len(encoded))
        return out
