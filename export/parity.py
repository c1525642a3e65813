"""Proof that an exported file computes what eager PyTorch computes, at several batch sizes and sequence lengths."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from export.agreement import Agreement, agreement, tolerance_for
from export.axes import sequence_length, shortened
from export.exporter import one_line, silenced
from export.outputs import named_tensors
from export.targets import TARGETS
from export.view import portable_view
from rewriter.errors import ValidationError
from rewriter.sources.inputs import InputSpec

BATCH_SIZES = (1, 3)
"""The batch sizes compared by default."""

REMEDY = "export again, or choose another target"


class Comparison(Agreement):
    """The agreement of one output of one target at one batch size and sequence length."""

    target: str
    output: str
    batch_size: int
    sequence_length: int | None


class Parity(BaseModel):
    """All comparisons of the exports in a directory; the content of ``parity.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    comparisons: tuple[Comparison, ...] = ()

    @property
    def targets(self) -> list[str]:
        """The names of the targets compared, in order."""
        return list(dict.fromkeys(comparison.target for comparison in self.comparisons))

    def without(self, targets: Iterable[str]) -> Parity:
        """Return the comparisons of the other targets."""
        dropped = set(targets)
        return Parity(comparisons=tuple(one for one in self.comparisons if one.target not in dropped))

    def __add__(self, other: Parity) -> Parity:
        return Parity(comparisons=self.comparisons + other.comparisons)


def compare(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    target: str,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    seed: int = 0,
) -> Parity:
    """Run ``model`` and the file at ``path`` on the same random inputs and compare every output.

    Both run on the CPU; ``model`` stays as it was. Inputs with a sequence axis are also compared at a shorter length.

    Raises:
        ValidationError: the file does not load or run, or its outputs differ in number or shape from the model's.
    """
    view = portable_view(model, specs)
    tolerance = tolerance_for(parameter.dtype for parameter in view.parameters())
    with _demanding(f"{path.name} to load"):
        run = TARGETS[target].load(path)
    comparisons: list[Comparison] = []
    for sized in filter(None, (specs, shortened(specs))):
        length = next(filter(None, map(sequence_length, sized)), None)
        for batch_size in batch_sizes:
            inputs = view.examples(sized, batch_size, seed=seed)
            with torch.no_grad():
                expected = named_tensors(view.call(*inputs))
            with _demanding(f"{path.name} to run{_place(batch_size, length)}"):
                found = run(dict(zip(view.input_names, inputs, strict=True)))
            _require_shapes([tensor for _, tensor in expected], found, f"{path.name}{_place(batch_size, length)}")
            comparisons.extend(
                Comparison(
                    target=target,
                    output=name,
                    batch_size=batch_size,
                    sequence_length=length,
                    **agreement(reference, exported, tolerance).model_dump(),
                )
                for (name, reference), exported in zip(expected, found, strict=True)
            )
    return Parity(comparisons=tuple(comparisons))


def require_parity(parity: Parity) -> None:
    """Check that every comparison passed.

    Raises:
        ValidationError: naming the target, the batch size and the error of the worst one.
    """
    failed = [one for one in parity.comparisons if not one.passed]
    if failed:
        worst = max(failed, key=lambda one: one.max_rel)
        raise ValidationError(
            expected=f"max|Δ|/max|y| of at most {worst.tolerance:g} between {worst.target} and eager PyTorch",
            found=f"{worst.max_rel:.3g} in {worst.output!r}{_place(worst.batch_size, worst.sequence_length)}",
            remedy=REMEDY,
        )


def _place(batch_size: int, length: int | None) -> str:
    return f" at batch {batch_size}" + ("" if length is None else f" and sequence length {length}")


def _require_shapes(expected: Sequence[Tensor], found: Sequence[Tensor], what: str) -> None:
    shapes, others = ([tuple(tensor.shape) for tensor in tensors] for tensors in (expected, found))
    if shapes != others:
        raise ValidationError(expected=f"{what} to return shapes {shapes}", found=str(others), remedy=REMEDY)


@contextlib.contextmanager
def _demanding(what: str) -> Iterator[None]:
    """Turn any failure of the export that runs inside into a ``ValidationError``."""
    try:
        with silenced():
            yield
    except Exception as error:
        raise ValidationError(expected=what, found=one_line(error), remedy=REMEDY) from error
