"""Where a rewritten model came from, and what was written of it."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from rewriter.recipe.digests import FileDigest, digest_files
from rewriter.sources.inputs import InputSpec

_LIBRARIES: Final = ("network-rewriter", "torch", "torchvision", "timm", "transformers", "safetensors")


class SourceRecord(BaseModel):
    """Where the original model came from.

    Attributes:
        spec: the source as the command line takes it, such as ``timm:resnet34``.
        checkpoint: name of the checkpoint file or folder it was given, if any.
        files: the files that its weights were read from; empty where they came from the source's own code.
        inputs: what its ``forward`` takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: str
    checkpoint: str | None = None
    files: tuple[FileDigest, ...] = ()
    inputs: tuple[InputSpec, ...] = ()


class ResultRecord(BaseModel):
    """What was written beside the recipe.

    Attributes:
        files: the files of the rewritten model's weights; `restore` checks them.
        made_with: versions of Python and of the libraries, for information alone: nothing is decided by them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[FileDigest, ...]
    made_with: dict[str, str]


def record_of_result(files: Iterable[Path]) -> ResultRecord:
    """Record the files of weights that were just written, and what wrote them.

    Raises:
        CheckpointError: one cannot be read.
    """
    return ResultRecord(files=digest_files(files), made_with=software())


def software() -> dict[str, str]:
    """Give the versions of Python and of the libraries that are installed."""
    return {"python": platform.python_version()} | {name: found for name in _LIBRARIES if (found := _version(name))}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
