"""Computes the sizes of tensors that are known before anything runs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.graph.constants import array_of, constant

Sizes = list[int | None]
"""A vector of sizes, None where one depends on the inputs."""


def compute_known_sizes(graph: ir.Graph) -> None:
    """Replace ``Slice`` and ``Concat`` of sizes by constants, where all that they give is known."""
    known: dict[ir.Value, Sizes] = {}
    for node in list(graph):
        sizes = _sizes(node, known)
        if sizes is None:
            continue
        value = node.outputs[0]
        known[value] = sizes
        numbers = [size for size in sizes if size is not None]
        if len(numbers) == len(sizes) and not value.is_graph_output():
            value.replace_all_uses_with(constant(graph, value.name or "sizes", np.array(numbers, dtype=np.int64)))
            graph.remove(node, safe=True)


def _sizes(node: ir.Node, known: dict[ir.Value, Sizes]) -> Sizes | None:
    match node.op_type:
        case "Shape":
            return _of_shape(node)
        case "Slice":
            whole, bounds = _vector(node.inputs[0], known), [array_of(one) for one in node.inputs[1:3]]
            plain = len(node.inputs) < 5 and all(bound is not None and bound.size == 1 for bound in bounds)
            if whole is None or not plain:
                return None
            start, end = (int(bound.reshape(())) for bound in bounds if bound is not None)
            return whole[start:end]
        case "Concat":
            parts = [_vector(one, known) for one in node.inputs]
            return None if any(part is None for part in parts) else [size for part in parts if part for size in part]
    return None


def _of_shape(node: ir.Node) -> Sizes | None:
    value = node.inputs[0]
    if value is None or value.shape is None:
        return None
    sizes: Sizes = [size if isinstance(size, int) else None for size in value.shape]
    end = node.attributes.get_int("end", len(sizes))
    return sizes[node.attributes.get_int("start", 0) : end]


def _vector(value: ir.Value | None, known: dict[ir.Value, Sizes]) -> Sizes | None:
    if value in known:
        return known[value]
    array = array_of(value)
    if array is None or array.ndim != 1 or array.dtype != np.int64:
        return None
    return [int(number) for number in array]
