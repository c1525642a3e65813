"""The folder of a rewritten model."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_model

from rewriter.errors import UsageError
from rewriter.recipe import Recipe
from rewriter.recipe.provenance import record_of_result
from rewriter.report import Report

if TYPE_CHECKING:
    from rewriter.doors import Result

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
RECIPE = "recipe.json"
REPORT = "report.json"


def require_new(directory: Path) -> None:
    """Refuse a folder that exists, or that cannot be made.

    Raises:
        UsageError: with the reason.
    """
    if directory.exists() or directory.is_symlink():
        raise UsageError(
            expected="an output folder that does not exist yet",
            found=str(directory),
            remedy="name another one or remove it first",
        )
    if not directory.absolute().parent.is_dir():
        raise UsageError(
            expected=f"the folder {directory.absolute().parent} to write into",
            found="none",
            remedy="make it first or name another one",
        )


def weights_in(directory: Path) -> Path:
    """Give the file of a result's weights: the index of its shards if it has one."""
    index = directory / INDEX
    return index if index.exists() else directory / WEIGHTS


def save(result: Result, directory: str | Path) -> Path:
    """Write a rewritten model: ``model.safetensors``, ``recipe.json`` and ``report.json``.

    The files are written into a temporary sibling that is renamed at the end, so that a failure leaves nothing. The
    recipe also gets a digest of the weights and the versions of the libraries: its ``result``.

    Args:
        result: what `rewrite` or `apply` returned.
        directory: the folder to make.

    Raises:
        UsageError: the folder exists, or its parent does not.
    """
    directory = Path(directory)
    require_new(directory)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.absolute().parent))
    try:
        save_model(result.model, str(temporary / WEIGHTS))
        recipe = result.recipe.model_copy(update={"result": record_of_result([temporary / WEIGHTS])})
        write_records(temporary, recipe, result.report)
        temporary.chmod(0o777 & ~_umask())
        os.rename(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return directory


def write_records(directory: Path, recipe: Recipe, report: Report) -> None:
    """Write what lies beside the weights: ``recipe.json`` and ``report.json``."""
    (directory / RECIPE).write_text(recipe.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (directory / REPORT).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
