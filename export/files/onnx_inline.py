"""An ONNX model without model-local functions, for runtimes and tools that stop at them: standard operators and initialisers only.

Values and nodes are named by the call that they come from, "layer0.sums". Equal constants become one initialiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metabit.export.errors import require


def inlined(model: Any) -> Any:
    """A copy of a ModelProto with every call of a function replaced by its body. Raises MissingExtra without onnx."""
    flat = require("onnx").ModelProto()
    flat.CopyFrom(model)
    del flat.graph.node[:], flat.functions[:]
    body = _Body(flat.graph, {function.name: function for function in model.functions})
    for node in model.graph.node:
        body.add(node, {}, {}, node.name)
    domains = {node.domain for node in flat.graph.node}
    kept = [one for one in flat.opset_import if one.domain in domains]
    del flat.opset_import[:]
    flat.opset_import.extend(kept)
    return flat


class _Body:
    """A graph that nodes are added to."""

    def __init__(self, graph: Any, functions: Mapping[str, Any]) -> None:
        self.graph, self.functions = graph, functions
        self.known: dict[tuple[Any, ...], str] = {}

    def add(self, node: Any, names: dict[str, str], given: Mapping[str, Any], prefix: str) -> None:
        """Adds a node of a function's body, or of the graph.

        names: of the body's values in the graph; a value without one gets the prefix. given: attributes of the call.
        """
        attributes = [_of_call(attribute, given) for attribute in node.attribute]
        if node.op_type == "Constant":
            names[node.output[0]] = self._constant(_array(attributes[0]), f"{prefix}.{node.output[0]}")
            return
        inputs = [names.get(name, name) for name in node.input]
        inside = bool(names)
        outputs = [names.setdefault(name, f"{prefix}.{name}" if inside else name) for name in node.output]
        if node.op_type not in self.functions:
            made = require("onnx.helper").make_node(node.op_type, inputs, outputs, outputs[0], domain=node.domain)
            made.attribute.extend(attributes)
            self.graph.node.append(made)
            return
        function = self.functions[node.op_type]
        inner = dict(zip([*function.input, *function.output], [*inputs, *outputs], strict=True))
        for part in function.node:
            self.add(part, inner, {one.name: one for one in attributes}, outputs[0] if inside else prefix)

    def _constant(self, value: np.ndarray[Any, Any], name: str) -> str:
        """The name of the initialiser that has this value; a new one unless there is one."""
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self.known:
            self.known[key] = name
            self.graph.initializer.append(require("onnx.numpy_helper").from_array(value, name))
        return self.known[key]


def _of_call(attribute: Any, given: Mapping[str, Any]) -> Any:
    """The attribute, or the call's where it refers to one."""
    if not attribute.ref_attr_name:
        return attribute
    made = type(attribute)()
    made.CopyFrom(given[attribute.ref_attr_name])
    made.name = attribute.name
    return made


def _array(attribute: Any) -> np.ndarray[Any, Any]:
    if attribute.name == "value":
        return np.asarray(require("onnx.numpy_helper").to_array(attribute.t))
    return np.array(attribute.i if attribute.name == "value_int" else list(attribute.ints), np.int64)
