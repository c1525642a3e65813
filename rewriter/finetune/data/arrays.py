"""Examples in arrays: ``.npz`` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rewriter.calibration.arrays import numpy_arrays
from rewriter.errors import UsageError
from rewriter.finetune.data.pixels import normalised, to_unit
from rewriter.finetune.data.takes import Takes
from rewriter.finetune.examples import Batch, Change
from rewriter.tracing.trace import reason

_LABELS = ("y", "labels", "label", "targets")


class ArrayExamples:
    """Examples held in memory.

    Args:
        arrays: the inputs by name, ``[N, …]``; a single one goes to the model's first argument whatever its name.
        labels: int64 ``[N]``, or None.
        takes: what the model takes.
    """

    def __init__(self, arrays: Mapping[str, Tensor], labels: Tensor | None, takes: Takes) -> None:
        self._arrays, self._labels, self._takes = dict(arrays), labels, takes

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""
        return self._labels is not None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(next(iter(self._arrays.values())))

    def batch(self, indices: Sequence[int], change: Change | None = None) -> Batch:
        """Give some of them; see `rewriter.finetune.examples.Examples`."""
        rows = torch.tensor(indices)
        labels = self._labels[rows] if self._labels is not None else None
        if len(self._arrays) > 1:
            return Batch({name: array[rows] for name, array in self._arrays.items()}, labels)
        values = next(iter(self._arrays.values()))[rows]
        pixels = values.dtype == torch.uint8
        if pixels:
            values = to_unit(values, self._takes)
        if change is not None and values.ndim == 4 and values.is_floating_point():
            values = change(values)
        return Batch(self._takes.inputs(normalised(values, self._takes) if pixels else values), labels)


def read_arrays(path: Path, takes: Takes) -> ArrayExamples:
    """Read an ``.npz`` file.

    The array ``y``, ``labels``, ``label`` or ``targets`` holds the labels, if there is one; the others are the inputs:
    uint8 images, which are scaled and normalised, floating-point arrays, taken as they are, or integers. Several of
    them are named as the parameters of ``forward``.

    Raises:
        UsageError: the file is unreadable, holds objects, or its arrays are no examples of one number.
    """
    try:
        arrays = {name: torch.from_numpy(array) for name, array in numpy_arrays(path).items()}
    except Exception as error:  # damaged bytes make numpy raise nearly every built-in exception
        raise UsageError(
            expected=f"a complete .npz file of numbers in {path}", found=reason(error), remedy="write it again"
        ) from error
    labels = next((arrays.pop(name) for name in _LABELS if name in arrays), None)
    lengths = {len(array) if array.ndim else 0 for array in (*arrays.values(), *([] if labels is None else [labels]))}
    if not arrays or len(lengths) != 1 or not min(lengths):
        raise UsageError(
            expected="one array of inputs or several, and at most one of labels (y), all of one length",
            found=", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or f"none in {path}",
            remedy="write the file again",
        )
    inputs = {name: array.float() if array.is_floating_point() else array for name, array in arrays.items()}
    inputs = {name: a if a.is_floating_point() or a.dtype == torch.uint8 else a.long() for name, a in inputs.items()}
    return ArrayExamples(inputs, labels.long() if labels is not None else None, takes)
