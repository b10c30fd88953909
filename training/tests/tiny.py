"""A base model, an encoder and settings that are small enough to run the whole recipe in a minute. All weights are random."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from recipe.base_model import BaseModel, load_base
from recipe.data import Encoder
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENIZER = Path(__file__).parents[2] / "src" / "models" / "bert-uncased" / "tokenizer.json"


def write_tiny(folder: Path) -> Path:
    """Writes `base/`, `encoder/` and `settings.json` into `folder`; returns the settings file."""
    torch.manual_seed(1)
    special = ["<|im_start|>", "<|im_end|>"]
    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_only = Tokenizer(models.BPE(letters, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    bytes_only.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token=special[1], pad_token=special[1])
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=8,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    bert = BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
    BertModel(bert, add_pooling_layer=False).save_pretrained(folder / "encoder")
    (folder / "encoder" / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    sets = ["numbers-judged", "kinds-judged", "amounts-of-two", "words-rewritten", "chat-mixed"]
    settings = {
        "base": str(folder / "base"),
        "base_id": "loradrop/tiny-random",
        "encoder": str(folder / "encoder"),
        "data": None,
        "work": str(folder / "work"),
        "held_out": ["kinds-judged"],
        "sets": sets,
        "max_rows": 60,
        "generator": {"prompts": 4, "tokens": 16, "encoder_layers": 2, "width": 32, "trunk": [[6, 10, 12]]},
        "collect": {"steps": 4, "keep": 2, "rows": 4, "side_by_side": 3, "multi_task_steps": 4, "multi_task_sets_a_step": 2},
        "reconstruction": {"steps": 3, "batch": 2, "first": True},
        "train": {"steps": 6, "save_every": 3, "rows": 4, "locality": 0.5, "locality_rows": 2},
        "evaluate": {"items": 20, "draws": 2, "controls": {"kinds-judged": ["amounts-of-two", "words-rewritten", "numbers-judged"]}},
    }
    path = folder / "settings.json"
    path.write_text(json.dumps(settings, indent=2))
    return path


if __name__ == "__main__":
    print(write_tiny(Path(sys.argv[1])))


def steep_base(folder: Path) -> tuple[BaseModel, Encoder, LlamaForCausalLM]:
    """The tiny base with weights far from their start, so that attention is not flat; with its encoder, and as transformers has it."""
    write_tiny(folder)
    _, tokenizer, model = load_base(folder / "base")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return BaseModel(model, torch.float32), Encoder(tokenizer), model
