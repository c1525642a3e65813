"""Writes ``1 + tanh(u)`` as ``2·σ(2u)``, whose factors weights can take over."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.graph.constants import constant, scalar_of, used_once
from export.graph.scales import absorbed


def tanh_gates_as_sigmoids(graph: ir.Graph) -> None:
    """Replace ``1 + tanh(u)`` wherever ``2u`` costs no operation."""
    for node in list(graph):
        if node.op_type != "Add" or node.outputs[0].is_graph_output():
            continue
        for value, number in (node.inputs, tuple(reversed(node.inputs))):
            if value is None or not used_once(value) or scalar_of(number) != 1.0:
                continue
            tanh = value.producer()
            if tanh is None or tanh.op_type != "Tanh" or (argument := tanh.inputs[0]) is None:
                continue
            if (edits := absorbed(argument, 2.0)) is not None:
                for edit in edits:
                    edit()
                _replace(graph, node, tanh, argument)
            break


def _replace(graph: ir.Graph, add: ir.Node, tanh: ir.Node, argument: ir.Value) -> None:
    result = add.outputs[0]
    assert result.dtype is not None
    name = f"{result.name}_sigmoid"
    gate = ir.node("Sigmoid", [argument], name=name)
    gate.outputs[0].name, gate.outputs[0].type, gate.outputs[0].shape = name, result.type, result.shape
    two = constant(graph, f"{name}_two", np.array(2.0, dtype=result.dtype.numpy()))
    double = ir.node("Mul", [gate.outputs[0], two], name=f"{name}_doubled")
    graph.insert_before(add, [gate, double])
    new = double.outputs[0]
    new.name, new.type, new.shape = f"{name}_doubled", result.type, result.shape
    result.replace_all_uses_with(new)
    graph.remove([add, tanh], safe=True)
