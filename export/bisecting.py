"""Finds where an export starts to differ: the first value of eager PyTorch that the export does not compute.

Exporters rename, fuse and reorder, so values are recognised by what they are. A value that the export has no equal of
still counts as computed when a value made from it has one. What remains is the part of the model that went wrong, and
it begins where the error jumps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from export.agreement import agreement
from export.nearest import nearest_errors
from export.steps import Recording, Step

_NOISE = 1 / 30  # of the tolerance: smaller errors are rounding
_LOST = 10.0  # times the tolerance: larger errors say no more than that a value is not there
_JUMP = 5.0  # a smaller ratio of two errors is growth


@dataclass(frozen=True)
class Divergence:
    """Where the export starts to differ.

    Attributes:
        reference: the first step of eager PyTorch that the export has not; None where it has them all and goes on.
        exported: the first step of the export that eager has not; None where there is none.
        before: the largest error of what that step is computed from.
        after: its own; infinity where nothing has its size.
        gradual: whether the error grows from step to step, and only passes the tolerance here.
    """

    reference: Step | None
    exported: Step | None
    before: float
    after: float
    gradual: bool


def first_divergence(
    reference: Recording, exported: Recording, failed: Collection[int], tolerance: float
) -> Divergence | None:
    """Compare the values inside two runs on the same inputs.

    Args:
        reference: of eager PyTorch.
        exported: of the export.
        failed: the positions of the outputs that differ.
        tolerance: the largest error of a right value.

    Returns:
        the first divergence on the way to the outputs that failed; None when both compute the same values there.
    """
    ours = _frontier(reference, exported, failed, tolerance)
    theirs = _frontier(exported, reference, failed, tolerance)
    told = ours or theirs
    if told is None:
        return None
    return Divergence(
        reference=None if ours is None else reference.steps[ours.step],
        exported=None if theirs is None else exported.steps[theirs.step],
        before=told.before,
        after=told.after,
        gradual=told.gradual,
    )


@dataclass(frozen=True)
class _Frontier:
    step: int
    before: float
    after: float
    gradual: bool


def _frontier(recording: Recording, other: Recording, failed: Collection[int], tolerance: float) -> _Frontier | None:
    """Return the first step, on the way to the failed outputs, whose value the other side has not."""
    errors = _errors(recording, other, failed)
    suspects = _ancestors(recording, failed)
    if max((errors[index] for index in suspects), default=0.0) <= tolerance:
        return None
    threshold, ratio = _threshold([errors[index] for index in suspects], tolerance)
    first = next(index for index in suspects if errors[index] > threshold)
    before = max((errors[parent] for parent in recording.steps[first].parents), default=0.0)
    return _Frontier(first, before, errors[first], ratio < _JUMP)


def _errors(recording: Recording, other: Recording, failed: Collection[int]) -> list[float]:
    """Return each step's error, or the error of what is computed from it where that is less."""
    errors = nearest_errors([step.value for step in recording.steps], [step.value for step in other.steps])
    for mine, theirs in _failed_classes(recording, other, failed):
        values = recording.steps[mine].value.flatten(), other.steps[theirs].value.flatten()
        errors[mine] = agreement(*values, 0.0).max_rel
    for index in range(len(recording.steps) - 1, -1, -1):
        if _tells(recording.steps[index].value):
            for parent in recording.steps[index].parents:
                errors[parent] = min(errors[parent], errors[index])
    return errors


def _failed_classes(recording: Recording, other: Recording, failed: Collection[int]) -> list[tuple[int, int]]:
    """Pair the failed outputs that are integers or booleans: few and small, they are found anywhere by chance."""
    pairs = []
    for index in failed:
        mine, theirs = recording.outputs[index], other.outputs[index]
        if mine is not None and theirs is not None and not recording.steps[mine].value.is_floating_point():
            pairs.append((mine, theirs))
    return pairs


def _ancestors(recording: Recording, failed: Collection[int]) -> list[int]:
    """List the steps to blame for the failed outputs, in order: these outputs, and the values that tell something."""
    ends = {step for index in failed if (step := recording.outputs[index]) is not None}
    reached = set(ends)
    for index in range(len(recording.steps) - 1, -1, -1):
        if index in reached:
            reached.update(recording.steps[index].parents)
    return [index for index in sorted(reached) if index in ends or _tells(recording.steps[index].value)]


def _tells(value: Tensor) -> bool:
    """Whether a value is such that it shows, by being right, that what it was computed from is right.

    Integers and constants, such as masks, sizes and zeros, do not.
    """
    return value.is_floating_point() and value.numel() > 1 and not bool((value == value.flatten()[0]).all())


def _threshold(errors: Sequence[float], tolerance: float) -> tuple[float, float]:
    """Return the middle of the widest gap above a right value, and the ratio of the two sides of the gap."""
    floor = tolerance * _NOISE
    levels = [floor, *sorted(min(max(error, floor), tolerance * _LOST) for error in errors)]
    ratio, low = max((high / low, low) for low, high in itertools.pairwise(levels) if low < tolerance)
    return (low * math.sqrt(ratio), ratio) if ratio >= _JUMP else (tolerance, ratio)
