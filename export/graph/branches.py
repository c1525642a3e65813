"""Applies a function that all branches share once, before they are split."""

from __future__ import annotations

import onnx_ir as ir

from export.graph.constants import scalar_of, used_once


def share_functions_of_branches(graph: ir.Graph) -> None:
    """Move a function that every output of a ``Split`` enters, such as ``Exp``, before the ``Split``.

    So is a ``Clip`` to the same two numbers.
    """
    for split in list(graph):
        if split.op_type != "Split" or not all(map(used_once, split.outputs)):
            continue
        readers = [next(iter(output.uses())).node for output in split.outputs]
        first = readers[0]
        if len(readers) < 2 or not all(_is_plain(reader) and _alike(reader, first) for reader in readers):
            continue
        function, packed = first.op_type, split.inputs[0]
        assert packed is not None
        shared = ir.node(function, [packed, *first.inputs[1:]], name=f"{split.name}_{function}")
        new = shared.outputs[0]
        new.name, new.type, new.shape = f"{packed.name}_{function.lower()}", packed.type, packed.shape
        graph.insert_before(split, shared)
        split.replace_input_with(0, new)
        for output, reader in zip(split.outputs, readers, strict=True):
            reader.outputs[0].replace_all_uses_with(output)
            graph.remove(reader, safe=True)


def _is_plain(node: ir.Node) -> bool:
    """Return whether a node is an elementwise function of a branch and of numbers at most."""
    if node.domain or node.op_type not in _ELEMENTWISE or node.outputs[0].is_graph_output():
        return False
    return all(scalar_of(number) is not None for number in node.inputs[1:])


def _alike(node: ir.Node, other: ir.Node) -> bool:
    """Return whether two nodes are the same function with the same numbers."""
    mine, others = ([scalar_of(value) for value in one.inputs[1:]] for one in (node, other))
    return node.op_type == other.op_type and mine == others


_ELEMENTWISE = frozenset(
    {"Abs", "Clip", "Erf", "Exp", "Log", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Tanh"}
)
