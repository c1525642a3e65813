"""``rewrite-model export``: files for deployment, each compared with eager PyTorch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewriter.cli.arguments import FolderArgument, JsonOption
from rewriter.cli.export_result import print_result, show_result
from rewriter.cli.opening import Opened, open_folder
from rewriter.cli.output import console
from rewriter.cli.real_inputs import RealInputsOption, real_inputs
from rewriter.errors import UsageError
from rewriter.storage import RECIPE

if TYPE_CHECKING:
    from export import ExportOptions

TargetsOption = Annotated[
    str, typer.Option("--to", metavar="TARGETS", help="onnx, torchscript, pt2, aoti, or several with commas between")
]
OpsetOption = Annotated[
    int | None, typer.Option("--opset", help="of ONNX; default: the newest that ONNX Runtime runs", min=1)
]
DynamicSizeOption = Annotated[
    bool, typer.Option("--dynamic-size", help="let height and width of images vary, where the model does")
]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="of the weights: fp32, fp16 or bf16; default: the model's")
]


def export_command(
    directory: FolderArgument,
    targets: TargetsOption = "onnx",
    opset: OpsetOption = None,
    dynamic_size: DynamicSizeOption = False,
    precision: PrecisionOption = None,
    calibration: RealInputsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the rewritten model in DIR: model.onnx, model.ts, model.pt2, model.aoti.pt2 and parity.json."""
    from export import TARGETS, ExportOptions, export_model  # ONNX takes seconds to import, and only exporting needs it

    names = [name.strip() for name in targets.split(",") if name.strip()]
    options = ExportOptions(opset=opset, dynamic_size=dynamic_size, precision=precision)
    _require_onnx_for_opset(options, names)
    to, progress = console(as_json), console(as_json=True)
    with progress.status(f"restoring {directory}"):
        opened = open_folder(directory)
        require_inputs(opened)
    real = real_inputs(calibration, opened)
    with progress.status(f"exporting to {', '.join(names)}"):
        parity = export_model(
            opened.model,
            opened.inputs,
            directory,
            names,
            metadata=_metadata(opened, directory),
            options=options,
            real=real,
        )
    for name in names:
        if TARGETS[name].note:
            progress.print(f"note: {TARGETS[name].note}")
    if as_json:
        print_result(parity, directory)
    else:
        show_result(to, parity, directory)


def require_inputs(opened: Opened) -> None:
    """Refuse a model whose inputs are unknown.

    Raises:
        UsageError: saying how to give them.
    """
    if not opened.inputs:
        raise UsageError(
            expected="a recipe that says what the model's forward takes",
            found="none",
            remedy="apply again with --input-shape",
        )


def _metadata(opened: Opened, directory: Path) -> dict[str, str]:
    return {
        "recipe_sha256": hashlib.sha256((directory / RECIPE).read_bytes()).hexdigest(),
        "method": opened.recipe.method,
        "source": opened.source.spec,
    }


def _require_onnx_for_opset(options: ExportOptions, names: list[str]) -> None:
    if options.opset is not None and "onnx" not in names:
        raise UsageError(
            expected="--opset with the target onnx, which alone has one",
            found=f"--opset {options.opset} --to {','.join(names)}",
            remedy="leave --opset out, or add onnx",
        )
