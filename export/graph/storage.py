"""Weights of an ONNX graph stored in bfloat16, half the bytes, and cast when the file is opened."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir

from export.graph.constants import constant

_LEAST_RANK = 2


def store_as_bfloat16(model: ir.Model) -> None:
    """Store every float32 matrix and kernel as bfloat16 behind a ``Cast``; vectors stay float32.

    A runtime folds the ``Cast`` of a constant once, when it opens the file. Biases, norms and tables of functions are
    vectors: they weigh nothing and would lose what they are for.
    """
    graph = model.graph
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) < _LEAST_RANK:
            continue
        name = value.name
        assert name is not None
        rounded = np.asarray(tensor.numpy()).astype(ml_dtypes.bfloat16)
        cast = ir.node("Cast", [constant(graph, f"{name}_bf16", rounded)], {"to": ir.DataType.FLOAT})
        cast.name, wide = f"{name}_cast", cast.outputs[0]
        wide.type, wide.shape = value.type, value.shape
        graph.insert_before(graph[0], cast)
        value.replace_all_uses_with(wide)
        del graph.initializers[name]
        wide.name = name
