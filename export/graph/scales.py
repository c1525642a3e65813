"""Moves the constant factors of a combine into the weights before it.

``0.5·x₂·tanh(k·(x₃ + c·x₄³))`` of packed branches is ``x₂·tanh(x₃ + x₄³)`` of branches whose weights are scaled: the
same function, with five passes over memory fewer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from export.graph.constants import replace_constant, scalar_of, used_once
from export.graph.packed import packed_layer

_MOST = 1e4
"""The largest factor, and one over the smallest, that is moved: what weights then are stays in the range of float16."""

_FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)

Edits = list[Callable[[], None]]
"""What has to be done to scale a value; done only when every part of it can be."""


def move_scales_into_weights(graph: ir.Graph) -> None:
    """Remove every product with a number, quotient by one, and negation that weights can take over."""
    for node in list(graph):
        if (found := _factor(node)) is None or node.outputs[0].is_graph_output():
            continue
        value, factor = found
        edits = absorbed(value, factor)
        if edits is None:
            edits = _absorbed_beside(node.outputs[0], factor)
        if edits is None:
            continue
        for edit in edits:
            edit()
        node.outputs[0].replace_all_uses_with(value)
        graph.remove(node, safe=True)


def absorbed(value: ir.Value, factor: float) -> Edits | None:
    """Return what makes ``value`` come out multiplied by ``factor`` without another operation; None if nothing does."""
    node = value.producer()
    if node is None or not used_once(value) or not _moves(factor):
        return None
    if (found := _factor(node)) is not None:
        return _absorbed_by_factor(node, *found, factor)
    inputs = [one for one in node.inputs if one is not None]
    match node.op_type:
        case "Add" | "Sub":
            parts = [absorbed(one, factor) for one in inputs]
            return None if any(part is None for part in parts) else [edit for part in parts if part for edit in part]
        case "Mul":
            return next(filter(None, (absorbed(one, factor) for one in inputs)), None)
        case "Div":
            return absorbed(inputs[0], factor)
        case "Pow" if scalar_of(inputs[1]) == 3.0:
            return absorbed(inputs[0], float(np.cbrt(factor)))
        case "Split":
            return _absorbed_by_weights(node, value, factor)
    return None


def _absorbed_by_factor(node: ir.Node, value: ir.Value, own: float, factor: float) -> Edits | None:
    """Scale a product with a number: by what is multiplied, or else by the number."""
    if (edits := absorbed(value, factor)) is not None:
        return edits
    if node.op_type == "Neg" or not _moves(own * factor):
        return None
    index = next(i for i, one in enumerate(node.inputs) if one is not value)
    number = own * factor if node.op_type == "Mul" else 1.0 / (own * factor)
    return [lambda: replace_constant(node, index, np.array(number))]


def _absorbed_beside(value: ir.Value, factor: float) -> Edits | None:
    """Give the factor of ``value`` to what it is multiplied with."""
    if not used_once(value):
        return None
    ((reader, index),) = value.uses()
    others = [one for i, one in enumerate(reader.inputs) if i != index and one is not None]
    return absorbed(others[0], factor) if reader.op_type == "Mul" and len(others) == 1 else None


def _absorbed_by_weights(split: ir.Node, value: ir.Value, factor: float) -> Edits | None:
    layer, part = packed_layer(split), value.index()
    if layer is None or part is None or (layer.bound is not None and factor != -1.0):
        return None
    return [lambda: layer.scale(part, factor)]


def _moves(factor: float) -> bool:
    return 1 / _MOST <= abs(factor) <= _MOST


def _factor(node: ir.Node) -> tuple[ir.Value, float] | None:
    """Read a node as a product of a value and a number."""
    inputs = list(node.inputs)
    if node.outputs[0].dtype not in _FLOATS:  # quotients of integers are rounded
        return None
    if node.op_type == "Neg" and inputs[0] is not None:
        return inputs[0], -1.0
    if node.op_type not in ("Mul", "Div") or inputs[0] is None or inputs[1] is None:
        return None
    if (number := scalar_of(inputs[1])) is not None:
        return inputs[0], number if node.op_type == "Mul" else 1.0 / number if number else 0.0
    if node.op_type == "Mul" and (number := scalar_of(inputs[0])) is not None:
        return inputs[1], number
    return None
