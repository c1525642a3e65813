"""ONNX: one standard-operator graph, checked with shape inference, that runs with onnxruntime alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from torch import nn

from export.axes import axis_names
from export.exporter import exporting
from export.graph import lighten
from export.graph.storage import store_as_bfloat16
from export.onnx_runtime import newest_opset
from export.options import AS_IT_IS, ExportOptions
from export.outputs import output_names
from export.program import exported_program
from export.view import portable_view
from rewriter.errors import ExportError, UsageError
from rewriter.sources.inputs import InputSpec

LARGEST_FILE = 2**31 - 2**24
"""The most bytes of weights in one file: protobuf reads no message of 2 GB, and the graph needs some room."""


def export_onnx(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    options: ExportOptions = AS_IT_IS,
    largest_file: int = LARGEST_FILE,
) -> None:
    """Write ``model`` to ``path`` as ONNX, through torch.export.

    bfloat16 weights are stored as such and cast once when the file is opened, since ONNX Runtime computes nothing in
    bfloat16 on a CPU; float16 is computed as such where the runtime can.

    Args:
        model: any model; it is copied, and stays as it was.
        specs: its inputs; their names are the graph's input names, the batch and sequence axes are dynamic.
        path: the file to write.
        metadata: entries for the file's ``metadata_props``.
        options: the opset (default: ``newest_opset()``), whether sizes of images vary, and the dtype of the weights.
        largest_file: with more bytes of weights than this, they go to a second file, ``path`` + ``.data``.

    Raises:
        UsageError: the opset is newer than ``newest_opset()``, or ``specs`` does not fit the model.
        ExportError: the exporter fails, cannot write this opset, or ONNX's checker refuses the graph.
    """
    opset = _supported(options.opset)
    stored = options.dtype == torch.bfloat16
    with exporting("torch.onnx"):
        view = portable_view(model, specs, None if stored else options.dtype)
        names = output_names(view.call(*view.examples(specs, 1)), view.input_names)
        program = torch.onnx.export(
            exported_program(view, specs, dynamic_size=options.dynamic_size),
            input_names=view.input_names,
            output_names=names,
            opset_version=opset,
            dynamic_shapes=(tuple(axis_names(specs, dynamic_size=options.dynamic_size)),),
            verbose=False,
        )
        assert program is not None
        _require_opset(program.model, opset)
        _forget_origins(program.model)
        lighten(program.model)
        if stored:
            store_as_bfloat16(program.model)
        program.model.metadata_props.update({**(metadata or {}), **options.as_metadata()})
        _save(program.model, path, largest_file)
        onnx.checker.check_model(path, full_check=True)


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


def _save(model: ir.Model, path: Path, largest_file: int) -> None:
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if weights > largest_file else None)
