"""Export one rewritten model of the zoo and prove parity; where that fails, try the original model too."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

import rewriter
from benchmarks.zoo_model import ZooModel
from export import export_model
from rewriter.errors import IllConditionedError, NoSiteError
from rewriter.sources.inputs import InputSpec, example_inputs
from rewriter.tracing.trace import reason

EXPORT: Final = "export"
TARGETS: Final = ("onnx", "pt2")
OUTCOMES: Final = ("ok", "failed", "ill-conditioned", "original fails too")
_DEVIATION: Final = 0.02


@dataclass(frozen=True)
class ExportRow:
    """What exporting one rewritten model showed.

    Attributes:
        library: where the model comes from.
        name: its name there.
        family: the line of the table it is counted in.
        method: always ``export``.
        rewritten_by: the method that rewrote it: the first of those asked for that has a site.
        outcome: ``done``, ``no site`` or ``out of scope``; ``failed`` when it did not come as far as the exporters.
        reason: why it is not done.
        onnx: one of `OUTCOMES`: ``original fails too`` where the model cannot be exported as it was either;
            ``ill-conditioned`` where eager PyTorch is no closer to the model in float64 than the file is.
        onnx_error: the largest max|Δ|/max|y| against eager over all batch sizes and outputs.
        onnx_reason: what the exporter or the comparison said.
        onnx_original: what it said of the original.
        pt2: as ``onnx``, for torch.export; so are the next three.
        pt2_error: see ``onnx_error``.
        pt2_reason: see ``onnx_reason``.
        pt2_original: see ``onnx_original``.
        seconds: wall-clock seconds of everything, building the model included.
    """

    library: str
    name: str
    family: str
    method: str = EXPORT
    rewritten_by: str = ""
    outcome: str = "done"
    reason: str = ""
    onnx: str = ""
    onnx_error: float | None = None
    onnx_reason: str = ""
    onnx_original: str = ""
    pt2: str = ""
    pt2_error: float | None = None
    pt2_reason: str = ""
    pt2_original: str = ""
    seconds: float = 0.0


def check_export(entry: ZooModel, methods: Sequence[str]) -> ExportRow:
    """Rewrite one model and export it to every target; an exception becomes part of the row, never an exception."""
    row = ExportRow(entry.library, entry.name, entry.family)
    if entry.out_of_scope is not None:
        return replace(row, outcome="out of scope", reason=entry.out_of_scope)
    started = time.perf_counter()
    try:
        row = _exported(row, entry, methods)
    except NoSiteError as error:
        row = replace(row, outcome="no site", reason=error.found)
    except Exception as error:  # whatever happens to one model must not stop the run
        row = replace(row, outcome="failed", reason=reason(error))
    return replace(row, seconds=round(time.perf_counter() - started, 2))


def _exported(row: ExportRow, entry: ZooModel, methods: Sequence[str]) -> ExportRow:
    model, specs = _made(entry)
    method, recipe = _first_with_sites(model, specs, methods)
    rewritten = rewriter.apply(model, recipe, inplace=True).model
    row = replace(row, rewritten_by=method)
    for target in TARGETS:
        outcome, error, why = _proved(rewritten, specs, target)
        original = ""
        if why:
            _, _, original = _proved(_made(entry)[0], specs, target)
            outcome = "original fails too" if original else outcome
        found = {"": outcome, "_error": error, "_reason": why, "_original": original}
        row = replace(row, **{f"{target}{suffix}": value for suffix, value in found.items()})
    return row


def _made(entry: ZooModel) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    torch.manual_seed(0)
    model, specs = entry.load()
    _draw_zero_weights(model)
    return model, specs


def _draw_zero_weights(model: nn.Module) -> None:
    """Draw the weights that a model starts at 0, such as a head's: behind them any two exports would agree."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(std=_DEVIATION)


def _first_with_sites(
    model: nn.Module, specs: Sequence[InputSpec], methods: Sequence[str]
) -> tuple[str, rewriter.Recipe]:
    inputs = example_inputs(specs, 2)
    for method in methods[:-1]:
        try:
            return method, rewriter.plan(model, method, example_inputs=inputs)
        except NoSiteError:
            continue
    return methods[-1], rewriter.plan(model, methods[-1], example_inputs=inputs)


def _proved(model: nn.Module, specs: Sequence[InputSpec], target: str) -> tuple[str, float | None, str]:
    """Export a model and compare it at the usual batch sizes; returns an outcome, the largest error or the reason."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            parity = export_model(model, specs, Path(folder) / "exported", [target])
        except IllConditionedError as error:
            return "ill-conditioned", None, error.found
        except Exception as error:
            return "failed", None, reason(error)
    return "ok", max(one.max_rel for one in parity.comparisons), ""
