"""Writes the text encoder as an ONNX graph with int8 weights, for `loradrop import --encoder`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .encoder import TextEncoder, quantise

OPSET = 17


def write_encoder(encoder: TextEncoder, directory: Path) -> None:
    """
    `model.onnx`, `tokenizer.json` and `config.json`. Inputs `input_ids` and `attention_mask` [batch, positions], output
    `last_hidden_state` [batch, positions, width]. Weights are kept as int8 and widened where they are used, so that the graph
    computes what `TextEncoder` does.
    """
    config = encoder.model.config
    state = {name: value.detach().cpu() for name, value in encoder.model.state_dict().items()}
    nodes, weights = [], []
    width, heads = config.hidden_size, config.num_attention_heads

    def constant(name: str, value) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(kind: str, inputs: list[str], name: str, **attributes) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def linear(x: str, source: str, name: str) -> str:
        values, scale = quantise(state[f"{source}.weight"])
        kernel = constant(f"{name}.weight", values.T.numpy())
        scales = constant(f"{name}.scale", scale[:, 0].numpy())
        # Not DequantizeLinear: ONNX Runtime turns that into a product which rounds activations to 8 bits.
        wide = widened(kernel, scales, f"{name}.wide")
        product = op("MatMul", [x, wide], f"{name}.product")
        return op("Add", [product, constant(f"{name}.bias", state[f"{source}.bias"].numpy())], name)

    def norm(x: str, source: str, name: str) -> str:
        parts = [constant(f"{name}.{part}", state[f"{source}.{part}"].numpy()) for part in ("weight", "bias")]
        return op("LayerNormalization", [x, *parts], name, axis=-1, epsilon=float(config.layer_norm_eps))

    def table(source: str, name: str) -> tuple[str, str]:
        values, scale = quantise(state[f"embeddings.{source}.weight"])
        return constant(f"{name}.weight", values.numpy()), constant(f"{name}.scale", scale.numpy())

    def widened(values: str, scale: str, name: str) -> str:
        return op("Mul", [op("Cast", [values], f"{name}.cast", to=TensorProto.FLOAT), scale], name)

    words, word_scale = table("word_embeddings", "words")
    positions, position_scale = table("position_embeddings", "positions")
    word = widened(
        op("Gather", [words, "input_ids"], "words.taken"), op("Gather", [word_scale, "input_ids"], "words.scales"), "word"
    )
    zero, one, two = (constant(name, np.array([value])) for name, value in (("zero", 0), ("one", 1), ("two", 2)))
    length = op("Slice", [op("Shape", ["input_ids"], "shape"), one, two], "length")
    cut = lambda source, name: op("Slice", [source, zero, length], name)
    position = widened(cut(positions, "positions.taken"), cut(position_scale, "positions.scales"), "position")
    first_type = state["embeddings.token_type_embeddings.weight"][0].numpy()
    x = op("Add", [op("Add", [word, position], "placed"), constant("type", first_type)], "embedded")
    x = norm(x, "embeddings.LayerNorm", "embedding")

    absent = op("Sub", [constant("present", np.float32(1)), op("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)], "absent")
    lowest = constant("lowest", np.float32(np.finfo(np.float32).min))
    bias = op("Unsqueeze", [op("Mul", [absent, lowest], "hidden_keys"), constant("axes", np.array([1, 2]))], "attention_bias")
    split = constant("split", np.array([0, 0, heads, width // heads]))
    joined = constant("joined", np.array([0, 0, width]))
    root = constant("root", np.float32((width // heads) ** -0.5))
    half, once, sqrt2 = (constant(f"gelu.{i}", np.float32(value)) for i, value in enumerate((0.5, 1.0, 2**0.5)))
    for index in range(config.num_hidden_layers):
        source, name = f"encoder.layer.{index}", f"layer{index}"

        def head(part: str, order: list[int]) -> str:
            y = linear(x, f"{source}.attention.self.{part}", f"{name}.{part}")
            y = op("Reshape", [y, split], f"{name}.{part}.split")
            return op("Transpose", [y], f"{name}.{part}.heads", perm=order)

        query, key, value = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])
        scores = op("Mul", [op("MatMul", [query, key], f"{name}.dot"), root], f"{name}.scaled")
        share = op("Softmax", [op("Add", [scores, bias], f"{name}.scores")], f"{name}.share", axis=-1)
        mixed = op("Transpose", [op("MatMul", [share, value], f"{name}.mixed")], f"{name}.mixed.rows", perm=[0, 2, 1, 3])
        mixed = op("Reshape", [mixed, joined], f"{name}.attended")
        y = linear(mixed, f"{source}.attention.output.dense", f"{name}.attention")
        x = norm(op("Add", [y, x], f"{name}.attention.sum"), f"{source}.attention.output.LayerNorm", f"{name}.middle")
        y = linear(x, f"{source}.intermediate.dense", f"{name}.wider")
        erf = op("Erf", [op("Div", [y, sqrt2], f"{name}.erf.in")], f"{name}.erf")
        gate = op("Mul", [op("Add", [erf, once], f"{name}.gate.sum"), half], f"{name}.gate")
        y = linear(op("Mul", [y, gate], f"{name}.gelu"), f"{source}.output.dense", f"{name}.narrower")
        last = index == config.num_hidden_layers - 1
        y = op("Add", [y, x], f"{name}.sum")
        x = norm(y, f"{source}.output.LayerNorm", "last_hidden_state" if last else f"{name}.out")

    axes = ["batch", "positions"]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*axes, width])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="loradrop-training")
    model.ir_version = 8
    onnx.checker.check_model(model)
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(directory / "model.onnx"))
    shutil.copyfile(encoder.directory / "tokenizer.json", directory / "tokenizer.json")
    facts = {
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": config.num_hidden_layers,
        "max_position_embeddings": config.max_position_embeddings,
        "pad_token_id": config.pad_token_id,
    }
    (directory / "config.json").write_text(json.dumps(facts, indent=2) + "\n")
