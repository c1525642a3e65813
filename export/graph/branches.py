"""Applies a function that all branches share once, before they are split."""

from __future__ import annotations

import onnx_ir as ir

from export.graph.constants import used_once


def share_functions_of_branches(graph: ir.Graph) -> None:
    """Move a function that every output of a ``Split`` enters, such as ``Exp``, before the ``Split``."""
    for split in list(graph):
        if split.op_type != "Split" or not all(map(used_once, split.outputs)):
            continue
        readers = [next(iter(output.uses())).node for output in split.outputs]
        function = readers[0].op_type
        if len(readers) < 2 or not all(_is_plain(reader, function) for reader in readers):
            continue
        packed = split.inputs[0]
        assert packed is not None
        shared = ir.node(function, [packed], name=f"{split.name}_{function}")
        new = shared.outputs[0]
        new.name, new.type, new.shape = f"{packed.name}_{function.lower()}", packed.type, packed.shape
        graph.insert_before(split, shared)
        split.replace_input_with(0, new)
        for output, reader in zip(split.outputs, readers, strict=True):
            reader.outputs[0].replace_all_uses_with(output)
            graph.remove(reader, safe=True)


def _is_plain(node: ir.Node, function: str) -> bool:
    """Return whether a node is ``function`` of one tensor, elementwise and without settings."""
    same = node.op_type == function and not node.domain and not node.attributes and len(node.inputs) == 1
    return same and function in _ELEMENTWISE and not node.outputs[0].is_graph_output()


_ELEMENTWISE = frozenset({"Abs", "Erf", "Exp", "Log", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Tanh"})
