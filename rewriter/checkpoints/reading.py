"""Reading the state dict out of a checkpoint file without running anything in it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from rewriter.checkpoints.formats import Format, detect_format, find_checkpoint
from rewriter.checkpoints.layout import extract_state_dict
from rewriter.errors import CheckpointError

_WANTED_GLOBAL: Final = re.compile(r"GLOBAL (\S+)")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint's state dict on the CPU, out of its wrappers and without their prefixes.

    Args:
        path: a safetensors file, a file of ``torch.save``, or a folder with ``model.safetensors`` or
            ``pytorch_model.bin`` (the first of them that exists).

    Raises:
        CheckpointError: the file is missing, truncated, of another format than its suffix says, wants to run code, or
            holds something else than one dict of tensors.
    """
    file = find_checkpoint(path)
    return extract_state_dict(_read(file), repr(str(file)))


def _read(file: Path) -> Any:
    kind = detect_format(file)
    # Damaged bytes make the two readers raise nearly every built-in exception, so all of them mean "unreadable".
    try:
        if kind is Format.SAFETENSORS:
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        wanted = _WANTED_GLOBAL.search(str(error))
        if kind is Format.TORCH and wanted is not None:
            raise _wants_code(file, wanted[1]) from error
        raise CheckpointError(
            expected=f"a complete {kind.name.lower()} file",
            found=f"{str(file)!r}: {type(error).__name__}: {textwrap.shorten(str(error), 200)}",
            remedy="fetch or save it again",
        ) from error


def _wants_code(file: Path, name: str) -> CheckpointError:
    return CheckpointError(
        expected="a file of tensors only",
        found=f"{str(file)!r}, whose pickle wants to run code ({name})",
        remedy="have someone who trusts it save the bare state dict again, best with safetensors.torch.save_file",
    )
