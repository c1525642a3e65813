"""Removes operations that change nothing: a sum with zeros, a product with ones."""

from __future__ import annotations

import onnx_ir as ir

from export.graph.constants import array_of

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}


def remove_neutral_operations(graph: ir.Graph) -> None:
    """Remove sums with zeros and products with ones that broadcast nothing, such as biases that are all 0."""
    for node in list(graph):
        if node.op_type not in _NEUTRAL or node.outputs[0].is_graph_output():
            continue
        for value, other in zip(node.inputs, reversed(node.inputs), strict=True):
            array = array_of(other)
            second_only = node.op_type in ("Sub", "Div") and other is not node.inputs[1]
            if value is None or array is None or second_only or not (array == _NEUTRAL[node.op_type]).all():
                continue
            if value.shape is not None and value.shape == node.outputs[0].shape:
                node.outputs[0].replace_all_uses_with(value)
                graph.remove(node, safe=True)
                break
