"""
Writes a generator of bases as ONNX graphs: `mapper.onnx` (condition -> coefficients) and `matrices.NN.onnx`, one a module (coefficients ->
the stacks of its A and B as an adapter's file has them, so without alpha / rank), as bundles of version 2 have them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from .base_model import PATHS
from .bases import Bases
from .encoder_graph import OPSET


class _Graph:
    """Nodes and weights of one graph. Weights are kept in half precision and widened where they are used."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def op(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def integers(self, name: str, values: list[int]) -> str:
        self.weights.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def number(self, name: str, value: float) -> str:
        self.weights.append(numpy_helper.from_array(np.float32(value), name))
        return name

    def weight(self, name: str, value: Tensor) -> str:
        half = np.ascontiguousarray(value.detach().cpu().half().numpy())
        self.weights.append(numpy_helper.from_array(half, f"{name}.half"))
        return self.op("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)

    def linear(self, x: str, layer, name: str) -> str:
        product = self.op("MatMul", [x, self.weight(f"{name}.weight", layer.weight.T)], f"{name}.product")
        return product if layer.bias is None else self.op("Add", [product, self.weight(f"{name}.bias", layer.bias)], name)

    def norm(self, x: str, layer, name: str) -> str:
        parts = [self.weight(f"{name}.{part}", getattr(layer, part)) for part in ("weight", "bias")]
        return self.op("LayerNormalization", [x, *parts], name, axis=-1, epsilon=float(layer.eps))

    def save(self, path: Path, source: tuple[str, list], results: dict[str, list]) -> None:
        info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        outputs = [info(name, shape) for name, shape in results.items()]
        graph = helper.make_graph(self.nodes, path.stem, [info(*source)], outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="loradrop-training")
        model.ir_version = 8
        onnx.checker.check_model(model)
        onnx.save(model, str(path))


def write_bases(generator: Bases, prompts: int, tokens: int, directory: Path) -> dict:
    """Writes the graphs into `directory`; returns their files, `graphs` and `matrices`, in order."""
    directory.mkdir(parents=True, exist_ok=True)
    coefficients = _write_mapper(generator, prompts, tokens, directory / "mapper.onnx")
    files = []
    for index in range(len(generator.layout.modules)):
        files.append(f"matrices.{index:02d}.onnx")
        _write_matrices(generator, index, coefficients, directory / files[-1])
    return {"graphs": ["mapper.onnx"], "matrices": files}


def _write_mapper(generator: Bases, prompts: int, tokens: int, path: Path) -> list:
    """Returns the shape of the coefficients [batch, layers, modules * 2 * bases]."""
    mapper, graph = generator.mapper, _Graph()
    layers, modules, sides, bases = mapper.shape
    width, hidden, heads = mapper.enter.in_features, mapper.enter.out_features, mapper.heads
    x = graph.op("Reshape", ["condition", graph.integers("flat", [0, prompts * tokens, width])], "states")
    x = graph.norm(graph.linear(x, mapper.enter, "enter"), mapper.enter_norm, "entered")
    split = graph.integers("split", [0, 0, heads, hidden // heads])

    def apart(y: str, name: str, order: list[int]) -> str:
        return graph.op("Transpose", [graph.op("Reshape", [y, split], f"{name}.split")], f"{name}.heads", perm=order)

    key = apart(graph.linear(x, mapper.key, "key"), "key", [0, 2, 3, 1])
    value = apart(graph.linear(x, mapper.value, "value"), "value", [0, 2, 1, 3])
    query = apart(graph.weight("queries", mapper.queries[None]), "query", [0, 2, 1, 3])
    scores = graph.op("Mul", [graph.op("MatMul", [query, key], "dot"), graph.number("root", (hidden // heads) ** -0.5)], "scores")
    mixed = graph.op("MatMul", [graph.op("Softmax", [scores], "share", axis=-1), value], "mixed")
    joined = graph.integers("joined", [0, 0, hidden])
    mixed = graph.op("Reshape", [graph.op("Transpose", [mixed], "mixed.rows", perm=[0, 2, 1, 3]), joined], "attended")
    y = graph.op("Add", [graph.linear(mixed, mapper.out, "out"), graph.weight("place", mapper.place)], "read")
    wide = graph.linear(graph.norm(y, mapper.norm, "norm"), mapper.wide, "wide")
    erf = graph.op("Erf", [graph.op("Div", [wide, graph.number("sqrt2", 2**0.5)], "erf.in")], "erf")
    gate = graph.op("Mul", [graph.op("Add", [erf, graph.number("one", 1)], "gate.sum"), graph.number("half", 0.5)], "gate")
    y = graph.op("Add", [graph.linear(graph.op("Mul", [wide, gate], "gelu"), mapper.narrow, "narrow"), y], "thought")
    head = graph.linear(graph.norm(y, mapper.last_norm, "last_norm"), mapper.head, "head")
    graph.op("Add", [head, graph.weight("constant", mapper.constant)], "coefficients")
    shape = ["batch", layers, modules * sides * bases]
    graph.save(path, ("condition", ["batch", prompts, tokens, width]), {"coefficients": shape})
    return shape


def _write_matrices(generator: Bases, index: int, coefficients: list, path: Path) -> None:
    layout, graph = generator.layout, _Graph()
    layers, modules, sides, bases = generator.mapper.shape
    name = layout.modules[index]
    place, (into, out) = PATHS[name], layout.base.sides(name)
    axis = graph.integers("axis", [2])
    # Of the one condition in the batch.
    own = graph.integers("own", [layers, bases])

    def part(side: int) -> str:
        start = (index * sides + side) * bases
        ends = [graph.integers(f"{which}{side}", [at]) for which, at in (("from", start), ("to", start + bases))]
        return graph.op("Reshape", [graph.op("Slice", ["coefficients", *ends, axis], f"slice{side}"), own], f"part{side}")

    for side, (letter, stack, shape) in enumerate(
        (
            ("A", generator.a[name], [layers, layout.rank, into]),
            ("B", generator.b[name].transpose(1, 2), [layers, out, layout.rank]),
        )
    ):
        flat = graph.op("MatMul", [part(side), graph.weight(f"bases{letter}", stack.flatten(1))], f"flat{letter}")
        graph.op("Reshape", [flat, graph.integers(f"shape{letter}", shape)], f"{place}.{letter}")
    results = {f"{place}.A": [layers, layout.rank, into], f"{place}.B": [layers, out, layout.rank]}
    graph.save(path, ("coefficients", coefficients), results)
