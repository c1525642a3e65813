"""The axes that may vary in an exported file: the batch, a sequence length, and the size of images on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.export import Dim

from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec

BATCH = "batch"
SEQUENCE = "sequence"
HEIGHT, WIDTH = "height", "width"
EXAMPLE_BATCH = 2
"""The batch that exporters trace with; 0 and 1 are sizes that torch.export takes as constants."""

_STRIDE = 32


def axis_names(specs: Sequence[InputSpec], *, dynamic_size: bool = False) -> list[dict[int, str]]:
    """Name the varying axes of each input; inputs whose sequences or images differ in size get names of their own.

    Args:
        specs: the inputs.
        dynamic_size: whether the last two axes of images vary; see ``is_image``.

    Raises:
        UsageError: sizes are to vary, and no input is an image.
    """
    lengths = {sequence_length(spec) for spec in specs} - {None}
    sizes = {spec.shape[-2:] for spec in specs if is_image(spec)}
    if dynamic_size and not sizes:
        raise UsageError(
            expected="an input of images, whose height and width can vary",
            found=", ".join(f"{spec.name}{list(spec.shape)}" for spec in specs),
            remedy="leave --dynamic-size out",
        )
    axes: list[dict[int, str]] = []
    for spec in specs:
        named = {0: BATCH}
        if spec.sequence_axis is not None:
            named[spec.sequence_axis] = SEQUENCE if len(lengths) == 1 else f"{spec.name}_{SEQUENCE}"
        elif dynamic_size and is_image(spec):
            prefix = "" if len(sizes) == 1 else f"{spec.name}_"
            rank = len(spec.shape) + 1
            named |= {rank - 2: f"{prefix}{HEIGHT}", rank - 1: f"{prefix}{WIDTH}"}
        axes.append(named)
    return axes


def is_image(spec: InputSpec) -> bool:
    """Return whether an input is made of images: numbers in channels, height and width, no sequence."""
    return spec.dtype == "float32" and spec.sequence_axis is None and len(spec.shape) >= 3


def dynamic_shapes(specs: Sequence[InputSpec], *, dynamic_size: bool = False) -> tuple[tuple[dict[int, Any], ...]]:
    """Return the ``dynamic_shapes`` of ``torch.export`` for a ``forward(*tensors)``: axes that must stay dynamic."""
    names = axis_names(specs, dynamic_size=dynamic_size)
    return (tuple(dict.fromkeys(named, Dim.DYNAMIC) for named in names),)


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


def resized(specs: Sequence[InputSpec]) -> list[InputSpec]:
    """Return ``specs`` with images of another size: a stride of most networks higher, and two wider."""
    return [
        spec.model_copy(update={"shape": (*spec.shape[:-2], spec.shape[-2] + _STRIDE, spec.shape[-1] + 2 * _STRIDE)})
        if is_image(spec)
        else spec
        for spec in specs
    ]


def _with_length(spec: InputSpec, length: int) -> InputSpec:
    assert spec.sequence_axis is not None
    shape = list(spec.shape)
    shape[spec.sequence_axis - 1] = length
    return spec.model_copy(update={"shape": tuple(shape)})
