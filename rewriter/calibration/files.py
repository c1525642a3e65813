"""Calibration inputs from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rewriter.calibration.arrays import numpy_arrays
from rewriter.checkpoints.safetensors_file import safetensors_regions
from rewriter.errors import UsageError
from rewriter.tracing.trace import reason

_BATCH = 64
_SUFFIXES = (".npy", ".npz", ".safetensors")


def read_calibration(path: Path) -> list[Tensor] | list[dict[str, Tensor]]:
    """Read calibration inputs and cut them into batches of 64 along their first dimension.

    Args:
        path: ``.npy``, or ``.npz`` or ``.safetensors`` with one array, for a model's first argument; or with several
            arrays of one length, named as the parameters of its ``forward``. Floating-point arrays become float32.

    Raises:
        UsageError: the file is missing, unreadable, of another kind, or its arrays are no batches of one length.
    """
    arrays = {name: _as_input(tensor) for name, tensor in _read(path).items()}
    lengths = {tensor.shape[0] if tensor.ndim else 0 for tensor in arrays.values()}
    if len(lengths) != 1 or not min(lengths):
        raise UsageError(
            expected="arrays with one and the same number of inputs as their first dimension",
            found=", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in arrays.items()) or "no array",
            remedy=f"write {path.name} again",
        )
    batches = [
        dict(zip(arrays, parts, strict=True))
        for parts in zip(*(torch.split(a, _BATCH) for a in arrays.values()), strict=True)
    ]
    return [next(iter(batch.values())) for batch in batches] if len(arrays) == 1 else batches


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix not in _SUFFIXES or not path.is_file():
        raise UsageError(
            expected=f"a calibration file ending in {', '.join(_SUFFIXES)}",
            found=str(path) if path.exists() else f"{path}, which does not exist",
            remedy="check the path",
        )
    try:
        if path.suffix == ".safetensors":
            return {name: region.load() for name, region in safetensors_regions(path).items()}
        return {name: torch.from_numpy(array) for name, array in numpy_arrays(path).items()}
    except Exception as error:  # damaged bytes make the readers raise nearly every built-in exception
        raise UsageError(
            expected=f"a complete {path.suffix} file of numbers",
            found=f"{path}: {reason(error)}",
            remedy="write it again",
        ) from error


def _as_input(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
