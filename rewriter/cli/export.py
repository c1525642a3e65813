"""``rewrite-model export``: files for deployment, each compared with eager PyTorch."""

from __future__ import annotations

import hashlib
from typing import Annotated

import typer

from rewriter.cli.arguments import FolderArgument, JsonOption
from rewriter.cli.opening import Opened, open_folder
from rewriter.cli.output import console, print_json
from rewriter.cli.parity_table import parity_table
from rewriter.errors import UsageError
from rewriter.storage import RECIPE

TargetsOption = Annotated[
    str, typer.Option("--to", metavar="TARGETS", help="onnx, torchscript, pt2, or several with commas between")
]


def export_command(directory: FolderArgument, targets: TargetsOption = "onnx", as_json: JsonOption = False) -> None:
    """Export the rewritten model in DIR: model.onnx, model.ts, model.pt2 and parity.json."""
    from export import TARGETS, export_model  # ONNX takes seconds to import, and only exporting needs it

    to, progress = console(as_json), console(as_json=True)
    with progress.status(f"restoring {directory}"):
        opened = open_folder(directory)
        require_inputs(opened)
    names = [name.strip() for name in targets.split(",") if name.strip()]
    digest = hashlib.sha256((directory / RECIPE).read_bytes()).hexdigest()
    metadata = {
        "recipe_sha256": digest,
        "method": opened.recipe.method,
        "source": opened.recipe.source.spec if opened.recipe.source else "",
    }
    with progress.status(f"exporting to {', '.join(names)}"):
        parity = export_model(opened.model, opened.inputs, directory, names, metadata=metadata)
    if as_json:
        print_json(parity)
        return
    to.print(parity_table(parity))
    to.print(f"wrote {', '.join(str(directory / TARGETS[name].filename) for name in parity.targets)} and parity.json")


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
