"""Reads and replaces the constants of an ONNX graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


def array_of(value: ir.Value | None) -> NDArray[np.generic] | None:
    """Return the content of a constant (an initializer or the output of ``Constant``), None for any other value."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def scalar_of(value: ir.Value | None) -> float | None:
    """Return a constant's one number, None where it has more, or an axis more than a vector."""
    array = array_of(value)
    return float(array.reshape(())) if array is not None and array.size == 1 and array.ndim <= 1 else None


def used_once(value: ir.Value) -> bool:
    """Return whether one node reads the value, once, and nobody outside the graph does."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def replace_constant(node: ir.Node, index: int, array: NDArray[np.generic]) -> None:
    """Give ``node`` another constant as input ``index``, in the dtype of the old one, which others may still use."""
    graph, old = node.graph, node.inputs[index]
    assert isinstance(graph, ir.Graph)
    assert old is not None
    assert old.dtype is not None
    new = array.astype(old.dtype.numpy())
    value = ir.Value(name="", type=ir.TensorType(old.dtype), shape=ir.Shape(new.shape))
    node.replace_input_with(index, value)
    if old.is_initializer() and not old.uses():
        del graph.initializers[old.name or ""]
    value.name = _free_name(graph, old.name or "constant")
    value.const_value = ir.tensor(new, name=value.name)
    graph.register_initializer(value)


def float64(value: ir.Value | None) -> NDArray[np.float64]:
    """Return a copy of a constant in float64."""
    array = array_of(value)
    assert array is not None
    return array.astype(np.float64)


def constant(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Add a constant to the graph; it keeps the dtype of ``array``."""
    tensor = ir.tensor(array, name=_free_name(graph, name))
    value = ir.Value(
        name=tensor.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _free_name(graph: ir.Graph, name: str) -> str:
    while name in graph.initializers:
        name += "_folded"
    return name
