"""Proof that an exported file computes what eager PyTorch computes: batch sizes, lengths, random and real inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from export.agreement import TOLERANCES, agreement
from export.comparison import Comparison, Parity
from export.pair import REMEDY, Pair, open_pair
from export.refusal import refusal
from rewriter.errors import ValidationError
from rewriter.sources.inputs import InputSpec

BATCH_SIZES = (1, 2, 7)
"""The batch sizes compared by default."""


def compare(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    target: str,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    *,
    real: Sequence[Any] = (),
) -> Parity:
    """Run ``model`` and the file at ``path`` on the same inputs and compare every output.

    Both run on the CPU; ``model`` stays as it was. Which inputs: see ``trials``.

    Raises:
        UsageError: the model does not run on ``specs`` or on the real inputs.
        ValidationError: the file does not load or run, its outputs differ in number, shape or kind from the model's,
            or the model's own are NaN.
    """
    return _compared(open_pair(model, specs, path, target), target, batch_sizes, real)


def prove(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    target: str,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    *,
    real: Sequence[Any] = (),
) -> Parity:
    """Compare as `compare` does, and accept no difference.

    Raises:
        UsageError: as `compare`.
        ValidationError: as `compare`; or an output differs by more than the tolerance: the message names the worst one
            and the first node or module that differs.
        IllConditionedError: every output that differs so is about as close to the model in float64 as eager PyTorch's.
    """
    pair = open_pair(model, specs, path, target)
    parity = _compared(pair, target, batch_sizes, real)
    if parity.failed:
        raise refusal(pair, target, parity.failed, list(pair.trials(batch_sizes, real)))
    return parity


def _compared(pair: Pair, target: str, batch_sizes: Sequence[int], real: Sequence[Any]) -> Parity:
    comparisons: list[Comparison] = []
    for trial in pair.trials(batch_sizes, real):
        expected = pair.eager(trial)
        found = pair.exported(trial)
        _require_alike([tensor for _, tensor in expected], found, f"{pair.path.name} {trial}")
        comparisons.extend(
            Comparison(
                target=target,
                output=name,
                inputs=trial.origin,
                batch_size=trial.batch_size,
                sequence_length=trial.sequence_length,
                image_size=trial.image_size,
                weights=str(pair.dtype).removeprefix("torch."),
                **agreement(reference, exported, TOLERANCES[pair.dtype]).model_dump(),
            )
            for (name, reference), exported in zip(expected, found, strict=True)
        )
    return Parity(comparisons=tuple(comparisons))


def _require_alike(expected: Sequence[Tensor], found: Sequence[Tensor], what: str) -> None:
    """Refuse outputs that differ in number, shape or kind: no difference of values can be told."""
    ours, theirs = (", ".join(map(_described, tensors)) for tensors in (expected, found))
    if ours != theirs:
        raise ValidationError(
            expected=f"{what} to return {len(expected)} outputs: {ours}",
            found=f"{len(found)}: {theirs}",
            remedy=REMEDY,
        )


def _described(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.").rstrip("0123456789").replace("bfloat", "float")
    return f"{kind}{list(tensor.shape)}"
