"""The inputs on which an export is compared with eager PyTorch: random ones, and real ones that the user gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from export.axes import axis_names, is_image, resized, shortened
from export.view import ExportView
from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec

Origin = Literal["random", "real"]


@dataclass(frozen=True)
class Trial:
    """One batch of inputs, in the order of the specs.

    Attributes:
        origin: where the values come from.
        batch_size: the number of examples.
        sequence_length: of the first input that has one.
        image_size: height and width of the first input of images.
        inputs: the tensors, floats in the dtype of the model's.
    """

    origin: Origin
    batch_size: int
    sequence_length: int | None
    image_size: tuple[int, int] | None
    inputs: tuple[Tensor, ...]

    def __str__(self) -> str:
        """Say which trial this is, such as ``at batch 2 and sequence length 8``."""
        length = "" if self.sequence_length is None else f" and sequence length {self.sequence_length}"
        size = "" if self.image_size is None else f" and image size {self.image_size[0]}x{self.image_size[1]}"
        return f"at batch {self.batch_size}{length}{size}" + (" of real inputs" if self.origin == "real" else "")


def trials(
    view: ExportView,
    specs: Sequence[InputSpec],
    batch_sizes: Sequence[int],
    real: Sequence[Any] = (),
    *,
    dynamic_size: bool = False,
    seed: int = 0,
) -> Iterator[Trial]:
    """Make every trial of a comparison, the same ones each time.

    Random inputs come at every batch size, again with shorter sequences where an input has a sequence, and again with
    images of another size where that may vary. Of real ones the first batch is cut to every batch size that it has,
    and the last batch is taken whole.

    Args:
        view: the model.
        specs: what it takes.
        batch_sizes: the batch sizes.
        real: batches of real inputs, each a tensor, a tuple of arguments or a dict of keyword arguments.
        dynamic_size: whether the export takes images of any size.
        seed: of the random values.

    Raises:
        UsageError: a batch of real inputs does not fit the specs.
    """
    for sized in filter(None, (specs, shortened(specs), resized(specs) if dynamic_size else None)):
        for batch_size in batch_sizes:
            yield _trial("random", specs, view.examples(sized, batch_size, seed=seed))
    if real:
        dtypes = [example.dtype for example in view.examples(specs, 1)]
        varying = axis_names(specs, dynamic_size=dynamic_size)
        first, last = (_in_order(batch, specs, dtypes, varying) for batch in (real[0], real[-1]))
        sizes = dict.fromkeys(min(size, len(first[0])) for size in batch_sizes)
        batches = [tuple(tensor[:size] for tensor in first) for size in sizes]
        if len(real) > 1 or len(last[0]) not in sizes:
            batches.append(last)
        yield from (_trial("real", specs, batch) for batch in batches)


def _trial(origin: Origin, specs: Sequence[InputSpec], inputs: tuple[Tensor, ...]) -> Trial:
    pairs = list(zip(inputs, specs, strict=True))
    lengths = (tensor.shape[spec.sequence_axis] for tensor, spec in pairs if spec.sequence_axis is not None)
    sizes = ((tensor.shape[-2], tensor.shape[-1]) for tensor, spec in pairs if is_image(spec))
    return Trial(origin, len(inputs[0]), next(lengths, None), next(sizes, None), inputs)


def _in_order(
    batch: Any, specs: Sequence[InputSpec], dtypes: Sequence[torch.dtype], varying: Sequence[Mapping[int, str]]
) -> tuple[Tensor, ...]:
    given: list[Any]
    if isinstance(batch, Mapping):
        given = [batch.get(spec.name) for spec in specs]
    else:
        given = list(batch) if isinstance(batch, tuple | list) else [batch]
    if len(given) != len(specs) or not all(map(_fits, given, specs, varying)):
        raise UsageError(
            expected="real inputs " + ", ".join(f"{spec.name}{list(spec.shape)}" for spec in specs) + " per example",
            found=_described(batch),
            remedy="give inputs as the recipe says, or apply again with the --input-shape that they have",
        )
    return tuple(tensor.to(dtype) for tensor, dtype in zip(given, dtypes, strict=True))


def _fits(tensor: Any, spec: InputSpec, varying: Mapping[int, str]) -> bool:
    if not isinstance(tensor, Tensor) or tensor.ndim != len(spec.shape) + 1:
        return False
    return all(tensor.shape[axis] == size or axis in varying for axis, size in enumerate(spec.shape, start=1))


def _described(batch: Any) -> str:
    named = batch.items() if isinstance(batch, Mapping) else [("", batch)]
    return ", ".join(
        f"{name}{list(value.shape[1:])}" if isinstance(value, Tensor) else f"{name} {type(value).__name__}".strip()
        for name, value in named
    )
