"""The export targets: for each name the user writes, the file it makes, what writes it, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from export.aoti import export_aoti, load_aoti
from export.archive import archive_metadata
from export.exporter import Exporter
from export.onnx import export_onnx
from export.onnx_runtime import load_onnx, onnx_metadata
from export.onnx_steps import record_onnx
from export.program import export_program, load_program
from export.runner import Runner
from export.steps import Recorder, record_file
from export.torchscript import export_torchscript, load_torchscript


@dataclass(frozen=True)
class Target:
    """A file format that models are exported to.

    Attributes:
        filename: the name of the file in the user's directory.
        export: writes a model to a path.
        load: opens such a file for running on the CPU.
        metadata: reads what the exporter wrote into such a file about it, without opening it for running.
        holds_code: whether opening a file that somebody else wrote can run code of theirs: it may hold pickles.
        note: what a user who chooses this target should know, in one line.
        record: runs such a file with every value inside it watched; None where nothing inside can be seen.
    """

    filename: str
    export: Exporter
    load: Callable[[Path], Runner]
    metadata: Callable[[Path], Mapping[str, str]]
    holds_code: bool = False
    record: Recorder | None = None
    note: str = ""


TARGETS = {
    "onnx": Target("model.onnx", export_onnx, load_onnx, onnx_metadata, record=record_onnx),
    "torchscript": Target(
        "model.ts",
        export_torchscript,
        load_torchscript,
        archive_metadata,
        record=partial(record_file, load_torchscript),
        note="torch deprecates TorchScript; its successors are pt2 and aoti",
    ),
    "pt2": Target(
        "model.pt2",
        export_program,
        load_program,
        archive_metadata,
        holds_code=True,
        record=partial(record_file, load_program),
    ),
    "aoti": Target("model.aoti.pt2", export_aoti, load_aoti, archive_metadata, holds_code=True),
}
"""The targets by the names that the command line and the Python door accept."""
