"""Loads an adapter with PEFT from a Hub and prints what it saw as JSON: check_peft.py REPOSITORY

Run in an empty folder. The base is made here at `test/base`, the relative path that the adapter names, since a base is
looked for on the Hub otherwise. HF_ENDPOINT, HF_TOKEN and HF_HOME are set by the test that runs it.
"""

import json
import sys

import peft
import torch
import transformers
from peft import AutoPeftModelForCausalLM, PeftModel

(repository,) = sys.argv[1:]
torch.manual_seed(0)
config = transformers.LlamaConfig(
    vocab_size=16,
    hidden_size=4,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
)
transformers.LlamaForCausalLM(config).save_pretrained("test/base")
tokens = torch.tensor([[1, 2, 3, 4]])


def logits(model):
    with torch.no_grad():
        return model(input_ids=tokens).logits


plain = logits(transformers.AutoModelForCausalLM.from_pretrained("test/base", dtype=torch.float32))
base = transformers.AutoModelForCausalLM.from_pretrained("test/base", dtype=torch.float32)
adapted = logits(PeftModel.from_pretrained(base, repository))
auto = logits(AutoPeftModelForCausalLM.from_pretrained(repository, dtype=torch.float32))
print(
    json.dumps(
        {
            "version": peft.__version__,
            "changed": (adapted - plain).abs().max().item(),
            "differs": (adapted - auto).abs().max().item(),
        }
    )
)
