"""What one checkpoint file holds, with its tensors left where they are."""

from __future__ import annotations

import pickle
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rewriter.checkpoints.formats import Format
from rewriter.checkpoints.safetensors_file import safetensors_regions
from rewriter.checkpoints.torch_file import UnplainTensorsError, read_torch_file, read_trusted_file
from rewriter.errors import CheckpointError

_WANTED_GLOBAL: Final = re.compile(r"GLOBAL (\S+)")
_READERS: Final[dict[Format, Callable[[Path], Any]]] = {
    Format.SAFETENSORS: safetensors_regions,
    Format.TORCH: read_torch_file,
}


def read_file(file: Path, kind: Format, *, trust_pickle: bool = False) -> Any:
    """Read a file of a format, with a `Stored` in the place of every tensor.

    Args:
        file: the file.
        kind: its format.
        trust_pickle: where the pickle of a torch file wants to run code, let it.

    Raises:
        CheckpointError: it is damaged, wants to run code, or holds tensors that are no plain arrays.
    """
    # Damaged bytes make the readers raise nearly every built-in exception, so all of them mean "unreadable".
    try:
        try:
            return _READERS[kind](file)
        except pickle.UnpicklingError:
            if not trust_pickle:
                raise
        return read_trusted_file(file)
    except Exception as error:
        raise unreadable(file, kind.name.lower(), error) from error


def unreadable(file: Path, kind: str, error: Exception) -> CheckpointError:
    """Make the error that says in one line why a file could not be read."""
    wanted = _WANTED_GLOBAL.search(str(error))
    if isinstance(error, UnplainTensorsError):
        return CheckpointError(
            expected="plain dense weights",
            found=f"{str(file)!r} with {error}",
            remedy="use the checkpoint from before it was quantised or pruned",
        )
    if wanted is not None and kind != "safetensors":
        return CheckpointError(
            expected="a file of tensors only",
            found=f"{str(file)!r}, whose pickle wants to run code ({wanted[1]})",
            remedy="have it saved again as a bare state dict with safetensors.torch.save_file, or give --trust-pickle "
            "(trust_pickle=True) if you trust whoever made it with this machine",
        )
    return CheckpointError(
        expected=f"a complete {kind} file",
        found=f"{str(file)!r}: {type(error).__name__}: {textwrap.shorten(str(error), 200)}",
        remedy="fetch or save it again",
    )
