"""Reads a fine-tuning job's model from the Hub view with huggingface_hub, and loads it with PEFT where that is installed.

    check_hub_model.py REPOSITORY

Prints what it saw as JSON. HF_ENDPOINT and HF_HOME are set by the test that runs it. The base has the shape of the real one and
random numbers: what is looked at is that every tensor of the adapter finds its module.
"""

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub

(repository,) = sys.argv[1:]
folder = Path(huggingface_hub.snapshot_download(repository))
seen = {
    "version": huggingface_hub.__version__,
    "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())},
    "card": huggingface_hub.ModelCard.load(repository).data.to_dict(),
}

if find_spec("peft"):
    import peft
    import torch
    import transformers
    from safetensors.torch import load_file

    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    torch.manual_seed(0)
    base = transformers.LlamaForCausalLM(config).eval()
    tokens = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        plain = base(input_ids=tokens).logits
        model = peft.PeftModel.from_pretrained(base, repository)
        adapted = model(input_ids=tokens).logits
    loaded = peft.get_peft_model_state_dict(model)
    given = load_file(folder / "adapter_model.safetensors")
    seen["peft"] = {
        "version": peft.__version__,
        "tensors": len(given),
        "same": given.keys() == loaded.keys()
        and all(torch.equal(tensor.float(), loaded[name].float()) for name, tensor in given.items()),
        "changed": (adapted - plain).abs().max().item(),
    }
print(json.dumps(seen))
