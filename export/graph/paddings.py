"""Zeros before a maximum stay zeros: ONNX Runtime's fusion of the two would take them for minus infinity."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.graph.constants import array_of, constant

_FIRST_OPSET_WITH_AXES = 18
_AXES = 3


def keep_zeros_before_maxima(model: ir.Model) -> None:
    """Name the axes of every ``Pad`` that a ``MaxPool`` reads: the same function, which ONNX Runtime leaves unfused.

    Fused, the pool's own padding takes the place of the zeros, and that never wins over a negative value. Opsets
    before 18 know no axes and stay as they are.
    """
    if model.opset_imports[""] < _FIRST_OPSET_WITH_AXES:
        return
    for node in model.graph:
        if node.op_type != "Pad" or len(node.inputs) > _AXES:
            continue
        pads = array_of(node.inputs[1])
        if pads is None or all(reader.op_type != "MaxPool" for reader in node.outputs[0].consumers()):
            continue
        node.resize_inputs(_AXES + 1)
        axes = np.arange(pads.size // 2, dtype=np.int64)
        node.replace_input_with(_AXES, constant(model.graph, f"{node.outputs[0].name}_axes", axes))
