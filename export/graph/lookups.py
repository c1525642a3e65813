"""Look-ups in tables: rows of a constant taken at once, and indices of any shape used as they are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.graph.constants import array_of, constant, used_once

_INDEX_TYPES = (ir.DataType.INT32, ir.DataType.INT64)


def take_rows_of_constants(graph: ir.Graph) -> None:
    """Replace ``Gather`` of a constant at constant indices by what it gives; a table's rows become its constants."""
    for node in list(graph):
        if node.op_type != "Gather" or node.outputs[0].is_graph_output():
            continue
        table, indices = array_of(node.inputs[0]), array_of(node.inputs[1])
        if table is None or indices is None:
            continue
        row = np.take(table, indices.astype(np.int64), axis=node.attributes.get_int("axis", 0))
        node.outputs[0].replace_all_uses_with(constant(graph, node.outputs[0].name or "row", row))
        graph.remove(node, safe=True)


def keep_shapes_in_lookups(graph: ir.Graph) -> None:
    """Look up indices in the shape that they have, where they are flattened before and the values reshaped after."""
    for gather in list(graph):
        if gather.op_type != "Gather" or gather.attributes.get_int("axis", 0) != 0:
            continue
        table, indices = array_of(gather.inputs[0]), _unflattened(gather.inputs[1])
        reshape = next(iter(gather.outputs[0].uses())).node if used_once(gather.outputs[0]) else None
        if table is None or table.ndim != 1 or indices is None or reshape is None or reshape.op_type != "Reshape":
            continue
        shaped = reshape.outputs[0]
        if shaped.is_graph_output() or not _same_shape(indices.shape, shaped.shape):
            continue
        gather.replace_input_with(1, indices)
        gather.outputs[0].shape = shaped.shape
        shaped.replace_all_uses_with(gather.outputs[0])
        graph.remove(reshape, safe=True)


def _unflattened(value: ir.Value | None) -> ir.Value | None:
    """Return the integers that ``value`` is another shape or width of, as far up as they are integers."""
    while value is not None and (node := value.producer()) is not None and node.op_type in ("Reshape", "Cast"):
        before = node.inputs[0]
        if before is None or before.dtype not in _INDEX_TYPES:
            break
        value = before
    return value if value is not None and value.dtype in _INDEX_TYPES else None


def _same_shape(one: ir.Shape | None, other: ir.Shape | None) -> bool:
    if one is None or other is None or len(one) != len(other):
        return False
    return all(a == b and getattr(a, "value", a) is not None for a, b in zip(one, other, strict=True))
