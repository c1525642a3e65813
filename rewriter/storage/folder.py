"""The folder of a rewritten model."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_model

from rewriter.errors import UsageError

if TYPE_CHECKING:
    from rewriter.doors import Result

WEIGHTS = "model.safetensors"
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


def save(result: Result, directory: str | Path) -> Path:
    """Write a rewritten model: ``model.safetensors``, ``recipe.json`` and ``report.json``.

    The files are written into a temporary sibling that is renamed at the end, so that a failure leaves nothing.

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
        (temporary / RECIPE).write_text(result.recipe.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (temporary / REPORT).write_text(result.report.model_dump_json(indent=1) + "\n", encoding="utf-8")
        temporary.chmod(0o777 & ~_umask())
        os.rename(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return directory


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
