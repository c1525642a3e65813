"""The folder of a rewritten model."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

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
        save_file(_tensors(result.model), temporary / WEIGHTS, metadata={"format": "pt"})
        recipe = result.recipe.model_copy(update={"result": record_of_result([temporary / WEIGHTS])})
        write_records(temporary, recipe, result.report)
        temporary.chmod(0o777 & ~_umask())
        os.rename(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return directory


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Give the tensors of a model, each of them once and by itself.

    Of names for one tensor the first is kept. What is a part of another tensor, or has room between its values, is
    copied: a file holds whole tensors.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    spans: set[tuple[int, int]] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        values = tensor.detach()
        storage = values.untyped_storage()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        span = (storage.data_ptr(), storage.nbytes())
        whole = storage.nbytes() == values.numel() * values.element_size() and values.is_contiguous()
        found[name] = values if whole and span not in spans else values.clone(memory_format=torch.contiguous_format)
        spans.add(span)
    return found


def write_records(directory: Path, recipe: Recipe, report: Report) -> None:
    """Write what lies beside the weights: ``recipe.json`` and ``report.json``."""
    (directory / RECIPE).write_text(recipe.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (directory / REPORT).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
