"""Attention on values as the projections leave them: heads side by side, not on an axis of their own.

The exporter moves the heads to the front and back again, a pass over memory each; ``Attention`` also takes values of
three axes and the number of heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from export.graph.constants import array_of, used_once

_HEADS_FIRST = (0, 2, 1, 3)
_PARTS_FIRST = (2, 0, 3, 1, 4)
_VALUES = 3


@dataclass(frozen=True)
class _Heads:
    """What a value of [batch, heads, positions, size] is made of.

    Attributes:
        source: a value of [batch, positions, parts · heads · size].
        number: how many heads.
        part: which of the parts, from the end where negative.
        parts: how many parts: 3 where one product makes queries, keys and values.
    """

    source: ir.Value
    number: int
    part: int = 0
    parts: int = 1


def keep_heads_side_by_side(graph: ir.Graph) -> None:
    """Give every ``Attention`` of moved heads, whose result is moved back, what was there before the moves.

    Where one product makes its queries, keys and values, each gets a ``Split`` of it; equal ones are to be shared.
    """
    for node in list(graph):
        if node.op_type != "Attention":
            continue
        heads = [one for one in map(_heads, node.inputs[:_VALUES]) if one is not None]
        moves = _moves_back(node.outputs[0])
        if len(heads) < _VALUES or moves is None:
            continue
        for index, one in enumerate(heads):
            node.replace_input_with(index, _side_by_side(graph, node, one))
        for name, one in (("q_num_heads", heads[0]), ("kv_num_heads", heads[1])):
            node.attributes[name] = ir.AttrInt64(name, one.number)
        node.outputs[0].shape = moves[-1].outputs[0].shape
        moves[-1].outputs[0].replace_all_uses_with(node.outputs[0])
        graph.remove(reversed(moves), safe=True)


def _heads(value: ir.Value | None) -> _Heads | None:
    whole = _moved(value, _HEADS_FIRST)
    if whole is not None:
        source, (number, _) = whole
        return _Heads(source, number)
    parted, part = _one_of(value)
    packed = _moved(parted, _PARTS_FIRST)
    if packed is None:
        return None
    source, (parts, number, _) = packed
    return _Heads(source, number, part, parts)


def _moved(value: ir.Value | None, order: tuple[int, ...]) -> tuple[ir.Value, list[int]] | None:
    """Return the value of three axes that ``value`` is, its last axis divided and all axes put in ``order``.

    The second thing returned are the sizes that the last axis is divided in.
    """
    transpose = _maker(value, "Transpose")
    reshape = None if transpose is None else _maker(transpose.inputs[0], "Reshape")
    if transpose is None or reshape is None or tuple(transpose.attributes.get_ints("perm", [])) != order:
        return None
    source, sizes = reshape.inputs[0], _divided(reshape.inputs[0], reshape.outputs[0])
    return None if source is None or sizes is None else (source, sizes)


def _moves_back(value: ir.Value) -> list[ir.Node] | None:
    """Return the two nodes that put the heads of a result side by side again; None where anything else reads it."""
    transpose = _reader(value, "Transpose")
    reshape = None if transpose is None else _reader(transpose.outputs[0], "Reshape")
    if transpose is None or reshape is None or tuple(transpose.attributes.get_ints("perm", [])) != _HEADS_FIRST:
        return None
    whole = not reshape.outputs[0].is_graph_output() and _divided(reshape.outputs[0], transpose.outputs[0])
    return [transpose, reshape] if whole else None


def _divided(flat: ir.Value | None, parted: ir.Value) -> list[int] | None:
    """Return the sizes that the last of three axes of ``flat`` is divided in; None where more than that differs.

    Where the last axis keeps its size and one of the other two does, so does the third: no element comes or goes.
    """
    if flat is None or flat.shape is None or parted.shape is None or len(flat.shape) != 3:
        return None
    sizes = [size for size in parted.shape[2:] if isinstance(size, int)]
    leading = zip(flat.shape[:2], parted.shape[:2], strict=True)
    same = any(one == other and getattr(one, "value", one) is not None for one, other in leading)
    complete = len(sizes) == len(parted.shape) - 2 and prod(sizes) == flat.shape[2]
    return sizes if same and complete else None


def _one_of(value: ir.Value | None) -> tuple[ir.Value | None, int]:
    """Return what ``value`` is one index of along the first axis, and the index; None for any other value."""
    squeeze = _maker(value, "Squeeze")
    cut = _maker(squeeze.inputs[0], "Slice") if squeeze is not None and _number(squeeze, 1) == 0 else None
    start = _number(cut, 1) if cut is not None and _number(cut, 3) == 0 else None
    return (cut.inputs[0], start) if cut is not None and start is not None else (None, 0)


def _side_by_side(graph: ir.Graph, reader: ir.Node, heads: _Heads) -> ir.Value:
    """Return one part of the source, divided before ``reader``."""
    source = heads.source
    if heads.parts == 1:
        return source
    assert source.shape is not None
    *leading, width = source.shape
    assert isinstance(width, int)
    name = f"{reader.name}_{heads.part}_of_{source.name}"
    settings = {"axis": -1, "num_outputs": heads.parts}
    split = ir.node("Split", [source], settings, num_outputs=heads.parts, name=name)
    for part, output in enumerate(split.outputs):
        output.name, output.type = f"{name}_{part}", source.type
        output.shape = ir.Shape([*leading, width // heads.parts])
    graph.insert_before(reader, split)
    return split.outputs[heads.part]


def _maker(value: ir.Value | None, operation: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == operation else None


def _reader(value: ir.Value, operation: str) -> ir.Node | None:
    node = next(iter(value.uses())).node if used_once(value) else None
    return node if node is not None and node.op_type == operation else None


def _number(node: ir.Node, index: int) -> int | None:
    array = array_of(node.inputs[index]) if index < len(node.inputs) else None
    return int(array.reshape(())) if array is not None and array.size == 1 else None
