"""ONNX: one standard-operator graph, checked with shape inference, that runs with onnxruntime alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.onnx._constants import ONNX_MAX_OPSET
from torch.utils import dlpack

from export.axes import axis_names
from export.exporter import exporting
from export.outputs import output_names
from export.program import exported_program
from export.runner import Runner
from export.view import portable_view
from rewriter.errors import ExportError, UsageError
from rewriter.sources.inputs import InputSpec

_PROVIDERS = ["CPUExecutionProvider"]
_ERRORS_ONLY = 3


def export_onnx(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    opset: int | None = None,
) -> None:
    """Write ``model`` to ``path`` as ONNX, through torch.export; weights above 2 GB go to ``path`` + ``.data``.

    Args:
        model: any model; it is copied, and stays as it was.
        specs: its inputs; their names are the graph's input names, the batch and sequence axes are dynamic.
        path: the file to write.
        metadata: entries for the file's ``metadata_props``.
        opset: the version of ai.onnx; default: ``newest_opset()``.

    Raises:
        UsageError: the opset is newer than ``newest_opset()``, or ``specs`` does not fit the model.
        ExportError: the exporter fails, cannot write this opset, or ONNX's checker refuses the graph.
    """
    opset = _supported(opset)
    with exporting("torch.onnx"):
        view = portable_view(model, specs)
        names = output_names(view.call(*view.examples(specs, 1)), view.input_names)
        program = torch.onnx.export(
            exported_program(view, specs),
            input_names=view.input_names,
            output_names=names,
            opset_version=opset,
            dynamic_shapes=(tuple(axis_names(specs)),),
            verbose=False,
        )
        assert program is not None
        _require_opset(program.model, opset)
        _forget_origins(program.model)
        program.model.metadata_props.update(metadata or {})
        program.save(path)
        onnx.checker.check_model(path, full_check=True)


def load_onnx(path: Path) -> Runner:
    """Open an ONNX file in ONNX Runtime on the CPU as a function from named input tensors to output tensors."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(path, options, providers=_PROVIDERS)

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        values = {name: onnxruntime.OrtValue.from_dlpack(tensor.contiguous()) for name, tensor in inputs.items()}
        return [dlpack.from_dlpack(value).clone() for value in session.run_with_ort_values(None, values)]

    return run


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


def _supported(opset: int | None) -> int:
    newest = newest_opset()
    if opset is not None and opset > newest:
        raise UsageError(expected=f"an opset up to {newest}", found=str(opset), remedy="choose an older one, or none")
    return opset or newest


def _require_opset(model: ir.Model, opset: int) -> None:
    """Refuse a graph of another opset: the exporter keeps its own when it cannot convert, and only logs it."""
    written = model.opset_imports[""]
    if written != opset:
        raise ExportError(
            expected=f"a graph of opset {opset}",
            found=f"operators that need opset {written}",
            remedy=f"choose opset {written} or newer",
        )


def _forget_origins(model: ir.Model) -> None:
    """Remove the exporter's notes on where each value came from: half the size, and file paths of this machine."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
