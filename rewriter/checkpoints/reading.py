"""Reading the state dict out of a checkpoint without running anything in it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from rewriter.checkpoints.distributed import read_distributed
from rewriter.checkpoints.formats import Format, detect_format, find_checkpoint
from rewriter.checkpoints.layout import extract_state_dict
from rewriter.checkpoints.sharded import read_sharded
from rewriter.checkpoints.single_file import read_file
from rewriter.checkpoints.stored import Stored


def stored_tensors(path: Path, *, trust_pickle: bool = False) -> dict[str, Stored]:
    """List the tensors of a checkpoint's state dict, out of its wrappers and without their prefixes.

    Nothing is read of their values, except from files of torch before 1.6, which can only be read as a whole.

    Args:
        path: a safetensors file, a file of ``torch.save``, the index of a sharded checkpoint (``*.index.json``), or a
            folder with one of these or of ``torch.distributed.checkpoint``: see `find_checkpoint`.
        trust_pickle: run the code that pickles of ``torch.save`` hold; without it none is run.

    Raises:
        CheckpointError: a file is missing, truncated, of another format than its suffix says, wants to run code, or
            holds something else than one dict of tensors.
    """
    file = find_checkpoint(path)
    with warnings.catch_warnings(action="ignore"):  # torch's, of what somebody else's file holds
        content = _read(file, trust_pickle)
    stored: dict[str, Stored] = extract_state_dict(content, repr(str(file)))
    return stored


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint's state dict on the CPU; see `stored_tensors` for argument and errors."""
    return {key: stored.load() for key, stored in stored_tensors(path).items()}


def _read(file: Path, trust_pickle: bool) -> Any:
    kind = detect_format(file)
    if kind is Format.INDEX:
        return read_sharded(file, trust_pickle=trust_pickle)
    return read_distributed(file) if kind is Format.DISTRIBUTED else read_file(file, kind, trust_pickle=trust_pickle)
