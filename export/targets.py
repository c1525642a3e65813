"""The export targets: for each name the user writes, the file it makes, what writes it, and what runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.exporter import Exporter
from export.onnx import export_onnx, load_onnx
from export.program import export_program, load_program
from export.runner import Runner
from export.torchscript import export_torchscript, load_torchscript


@dataclass(frozen=True)
class Target:
    """A file format that models are exported to.

    Attributes:
        filename: the name of the file in the user's directory.
        export: writes a model to a path.
        load: opens such a file for running on the CPU.
        holds_code: whether opening a file that somebody else wrote can run code of theirs: it may hold pickles.
    """

    filename: str
    export: Exporter
    load: Callable[[Path], Runner]
    holds_code: bool = False


TARGETS = {
    "onnx": Target("model.onnx", export_onnx, load_onnx),
    "torchscript": Target("model.ts", export_torchscript, load_torchscript),
    "pt2": Target("model.pt2", export_program, load_program, holds_code=True),
}
"""The targets by the names that the command line and the Python door accept."""
