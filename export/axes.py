"""The axes that may vary in an exported file: the batch, and a sequence length where an input has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.export import Dim

from rewriter.sources.inputs import InputSpec

BATCH = "batch"
SEQUENCE = "sequence"
EXAMPLE_BATCH = 2
"""The batch that exporters trace with; 0 and 1 are sizes that torch.export takes as constants."""


def axis_names(specs: Sequence[InputSpec]) -> list[dict[int, str]]:
    """Name the varying axes of each input; inputs whose sequences differ in length get names of their own."""
    lengths = {sequence_length(spec) for spec in specs} - {None}
    axes: list[dict[int, str]] = []
    for spec in specs:
        named = {0: BATCH}
        if spec.sequence_axis is not None:
            named[spec.sequence_axis] = SEQUENCE if len(lengths) == 1 else f"{spec.name}_{SEQUENCE}"
        axes.append(named)
    return axes


def dynamic_shapes(specs: Sequence[InputSpec]) -> tuple[tuple[dict[int, Any], ...]]:
    """Return the ``dynamic_shapes`` of ``torch.export`` for a ``forward(*tensors)``: axes that must stay dynamic."""
    return (tuple(dict.fromkeys(named, Dim.DYNAMIC) for named in axis_names(specs)),)


def sequence_length(spec: InputSpec) -> int | None:
    """Return the length along the sequence axis, None where it is fixed."""
    return None if spec.sequence_axis is None else spec.shape[spec.sequence_axis - 1]


def shortened(specs: Sequence[InputSpec]) -> list[InputSpec] | None:
    """Return ``specs`` with sequences of two thirds the length, None where no sequence can be made shorter.

    Shorter, because a longer one may pass the model's last position.
    """
    shorter = [
        _with_length(spec, max(1, 2 * length // 3)) if (length := sequence_length(spec)) else spec for spec in specs
    ]
    return shorter if shorter != list(specs) else None


def _with_length(spec: InputSpec, length: int) -> InputSpec:
    assert spec.sequence_axis is not None
    shape = list(spec.shape)
    shape[spec.sequence_axis - 1] = length
    return spec.model_copy(update={"shape": tuple(shape)})
