"""Computes the layers around packed branches on a matrix of rows.

``Gemm`` adds a bias, or a branch that was composed, while it multiplies; after ``MatMul`` that is another pass over
memory. But ``Gemm`` takes matrices alone, so the rows of all leading dimensions are made one dimension before the first
layer, and what they were behind the second: views, which cost nothing. The graph has as many nodes as before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.graph.constants import array_of, constant, used_once
from export.graph.packed import packed_layer

_ELEMENTWISE = frozenset(
    {"Abs", "Add", "Clip", "Cos", "Div", "Erf", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Relu"}
    | {"Sigmoid", "Sign", "Sin", "Softplus", "Sqrt", "Sub", "Tanh"}
)


@dataclass(frozen=True)
class _Block:
    """Two layers and what stands between them.

    Attributes:
        first: the product of the packed branches.
        bias: the sum behind it.
        inside: the values from there to the second product.
        second: that product.
        total: the sum behind it.
        added: what is added there.
    """

    first: ir.Node
    bias: ir.Node
    inside: list[ir.Value]
    second: ir.Node
    total: ir.Node
    added: ir.Value


def multiply_rows(graph: ir.Graph) -> None:
    """Turn ``MatMul`` and ``Add`` around every ``Split`` of branches into ``Gemm``, where one size at most varies."""
    for split in list(graph):
        if split.op_type == "Split" and (block := _block(split)) is not None:
            _flatten(graph, block)


def _block(split: ir.Node) -> _Block | None:
    layer = packed_layer(split)
    if layer is None or layer.bias is None or layer.weight[0].op_type != "MatMul":
        return None
    first, bias = layer.weight[0], layer.bias[0]
    entered, packed = first.inputs[0], bias.outputs[0]
    if entered is None or entered.shape is None or not _has_rows(entered.shape):
        return None
    found = _region(packed)
    if found is None:
        return None
    inside, second = found
    ((total, index),) = second.outputs[0].uses()
    added = total.inputs[1 - index]
    assert added is not None
    array = array_of(added)
    if added not in inside and (array is None or array.ndim != 1):
        return None
    return _Block(first, bias, inside, second, total, added)


def _has_rows(shape: ir.Shape) -> bool:
    """Say whether there are rows in more than one dimension, of which the sizes of all but one are known."""
    varying = [size for size in shape if not isinstance(size, int)]
    return len(shape) > 2 and len(varying) <= 1 and isinstance(shape[-1], int)


def _region(packed: ir.Value) -> tuple[list[ir.Value], ir.Node] | None:
    """Follow values row by row to the one product that they all enter; None where something else reads them."""
    inside, products, sums = [packed], set[ir.Node](), set[ir.Node]()
    for value in inside:  # which grows
        if value.is_graph_output():
            return None
        for node, index in value.uses():
            if _is_product(node) and index == 0:
                products.add(node)
            elif node.op_type == "Add" and any(_is_product(one.producer()) for one in node.inputs if one is not None):
                sums.add(node)
            elif _is_by_row(node):
                inside += [output for output in node.outputs if output not in inside]
            else:
                return None
    if len(products) != 1:
        return None
    (second,) = products
    behind = second.outputs[0]
    if not used_once(behind):
        return None
    ((total, _),) = behind.uses()
    if total.op_type != "Add" or total.outputs[0].is_graph_output() or total.outputs[0].shape is None or sums - {total}:
        return None
    read = {one for value in inside for node, _ in value.uses() if node is not total for one in node.inputs}
    other = [one for one in read if one is not None and one not in inside and one is not second.inputs[1]]
    if any((array := array_of(one)) is None or array.ndim > 1 for one in other):
        return None
    return inside, second


def _is_product(node: ir.Node | None) -> bool:
    weight = array_of(node.inputs[1]) if node is not None and node.op_type == "MatMul" else None
    return weight is not None and weight.ndim == 2


def _is_by_row(node: ir.Node) -> bool:
    if node.domain or any(output.shape is None for output in node.outputs):
        return False
    if node.op_type == "Split":
        return node.attributes.get_int("axis", 0) in (-1, len(node.outputs[0].shape or ()) - 1)
    return node.op_type in _ELEMENTWISE


def _flatten(graph: ir.Graph, block: _Block) -> None:
    entered, old = block.first.inputs[0], block.total.outputs[0]
    assert entered is not None
    assert entered.shape is not None
    assert old.shape is not None
    leading = [size if isinstance(size, int) else -1 for size in entered.shape[:-1]]
    width = entered.shape[-1]
    rows = _node(graph, block.bias, "Reshape", [entered, _sizes(graph, [-1, width])], f"{block.first.name}_rows")
    rows.outputs[0].name = f"{block.bias.outputs[0].name}_rows"
    packed = _node(graph, block.bias, "Gemm", [rows.outputs[0], block.first.inputs[1], _bias(block)], block.bias.name)
    _replace(graph, block.bias, packed)
    graph.remove(block.first, safe=True)
    for value in (packed.outputs[0], *block.inside[1:]):
        assert value.shape is not None
        value.shape = ir.Shape([None, value.shape[-1]])
        for node, _ in value.uses():
            if node.op_type == "Split":
                node.attributes["axis"] = ir.AttrInt64("axis", -1)
    added = packed.outputs[0] if block.added is block.inside[0] else block.added
    second = _node(graph, block.total, "Gemm", [*block.second.inputs[:2], added], block.second.name)
    second.outputs[0].name = block.second.outputs[0].name
    shape = _sizes(graph, [*leading, old.shape[-1]])
    _replace(graph, block.total, _node(graph, block.total, "Reshape", [second.outputs[0], shape], block.total.name))
    graph.remove(block.second, safe=True)


def _bias(block: _Block) -> ir.Value | None:
    return next(one for one in block.bias.inputs if one is not block.first.outputs[0])


def _sizes(graph: ir.Graph, sizes: list[int | ir.SymbolicDim]) -> ir.Value:
    return constant(graph, "rows", np.array(sizes, dtype=np.int64))


def _node(graph: ir.Graph, before: ir.Node, operation: str, inputs: list[ir.Value | None], name: str | None) -> ir.Node:
    node = ir.node(operation, inputs, name=name)
    like = before.outputs[0]
    node.outputs[0].type = like.type
    graph.insert_before(before, node)
    return node


def _replace(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put the value of a new node in the place of an old node's, under its name."""
    value = old.outputs[0]
    value.replace_all_uses_with(new.outputs[0])
    graph.remove(old, safe=True)
    new.outputs[0].name, new.outputs[0].shape = value.name, value.shape
