"""ONNX Runtime: runs an ONNX file on the CPU, and tells which opsets it knows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxruntime
from onnx import TensorProto, helper
from torch import Tensor
from torch.onnx._constants import ONNX_MAX_OPSET
from torch.utils import dlpack

from export.runner import Runner
from rewriter.errors import ExportError

_PROVIDERS = ["CPUExecutionProvider"]
_ERRORS_ONLY = 3


def load_onnx(path: Path) -> Runner:
    """Open an ONNX file in ONNX Runtime on the CPU as a function from named input tensors to output tensors."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(path, options, providers=_PROVIDERS)

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        values = {name: onnxruntime.OrtValue.from_dlpack(tensor.contiguous()) for name, tensor in inputs.items()}
        return [tensor_of(value) for value in session.run_with_ort_values(None, values)]

    return run


def tensor_of(value: onnxruntime.OrtValue) -> Tensor:
    """Copy a value of ONNX Runtime's into a tensor of its dtype; DLPack alone gives booleans as bytes."""
    tensor: Tensor = dlpack.from_dlpack(value).clone()
    return tensor.bool() if value.data_type() == "tensor(bool)" else tensor


def onnx_metadata(path: Path) -> dict[str, str]:
    """Return the ``metadata_props`` of an ONNX file; its external weights are not read."""
    return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}


@functools.cache
def newest_opset() -> int:
    """Return the newest opset that the installed torch exporter writes and the installed ONNX Runtime runs."""
    for opset in range(ONNX_MAX_OPSET, 0, -1):
        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
        probe = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        try:
            onnxruntime.InferenceSession(probe.SerializeToString(), providers=_PROVIDERS)
        except Exception:
            continue
        return opset
    raise ExportError(expected="ONNX Runtime", found="one that runs no opset", remedy="install onnxruntime again")
