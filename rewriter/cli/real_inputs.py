"""Real inputs for comparing exports with eager PyTorch, from what ``--calibration`` names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rewriter.calibration import listed
from rewriter.calibration.prepared import prepared_calibration
from rewriter.cli.opening import Opened
from rewriter.sources.source import Source

RealInputsOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="PATH",
        help="real inputs to compare on, beside random ones: .npy, .npz, .safetensors, .txt or images",
    ),
]


def real_inputs(path: Path | None, opened: Opened) -> list[Any]:
    """Read batches of real inputs for a rewritten model; none where no path was given.

    Raises:
        UsageError: there is nothing of the kind at the path, or it does not suit the model.
    """
    if path is None:
        return []
    return listed(prepared_calibration(path, Source(opened.source.spec, opened.model, opened.inputs)))
