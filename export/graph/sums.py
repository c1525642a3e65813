"""Takes sums in an ONNX graph apart and puts them together again."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from export.graph.constants import used_once


@dataclass(frozen=True)
class Term:
    """A summand and its sign, 1 or -1."""

    value: ir.Value
    sign: float


def summands(value: ir.Value, sign: float = 1.0) -> tuple[list[Term], list[ir.Node]]:
    """Take a sum apart as far as nothing else reads it: its terms, and the nodes that added them, the last first."""
    node = value.producer()
    if node is None or node.op_type not in ("Add", "Sub") or not used_once(value):
        return [Term(value, sign)], []
    left, right = node.inputs
    assert left is not None
    assert right is not None
    first, before = summands(left, sign)
    second, after = summands(right, sign if node.op_type == "Add" else -sign)
    return first + second, [node, *before, *after]


def sum_of(graph: ir.Graph, reader: ir.Node, terms: list[Term]) -> ir.Value:
    """Add terms, of which one at least is positive, right before the node that reads the sum."""
    positive = [term.value for term in terms if term.sign > 0]
    negative = [term.value for term in terms if term.sign < 0]
    total = positive[0]
    for operation, values in (("Add", positive[1:]), ("Sub", negative)):
        for value in values:
            node = ir.node(operation, [total, value], name=f"{reader.name}_{operation}_{value.name}")
            new = node.outputs[0]
            new.name, new.type = f"{total.name}_and_{value.name}", value.type
            new.shape = _shape_of_sum(total.shape, value.shape)
            graph.insert_before(reader, node)
            total = new
    return total


def _shape_of_sum(left: ir.Shape | None, right: ir.Shape | None) -> ir.Shape | None:
    """Return the shape that a number, or a tensor of fewer dimensions, is stretched to; None where it is not known."""
    if left is None or right is None or (len(left) == len(right) and left != right):
        return None
    return left if len(left) >= len(right) else right
