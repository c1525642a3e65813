"""The error for an export that differs: the worst of it, where that begins, and whether it is rounding alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from export.comparison import Comparison
from export.diagnosis import diagnosis
from export.pair import REMEDY, Pair
from export.rounding import Rounding, roundings
from export.trials import Trial
from rewriter.errors import IllConditionedError, ValidationError


def refusal(pair: Pair, target: str, failed: Sequence[Comparison], trials: Sequence[Trial]) -> ValidationError:
    """Make the error for the comparisons that failed; ``trials`` are those of the whole comparison."""
    worst = max(failed, key=lambda one: one.max_rel)
    trial = next(filter(worst.is_of, trials))
    causes = list(_causes(pair, failed, trials))
    cause = next(cause for one, cause in causes if one is worst)
    expected = f"max|Δ|/max|y| of at most {worst.tolerance:g} between {target} and eager PyTorch"
    beside = "" if cause is None else f" ({cause})"
    found = f"{worst.max_rel:.3g} in {worst.output!r} {trial}{beside}: {diagnosis(pair, target, trial)}"
    if all(cause is not None and cause.alone for _, cause in causes):
        return IllConditionedError(
            expected=expected,
            found=found,
            remedy="train the model first, or compare on real inputs: here the outputs hang on how numbers are rounded",
        )
    return ValidationError(expected=expected, found=found, remedy=REMEDY)


def _causes(
    pair: Pair, failed: Sequence[Comparison], trials: Sequence[Trial]
) -> Iterator[tuple[Comparison, Rounding | None]]:
    for trial in trials:
        here = [one for one in failed if one.is_of(trial)]
        rounded = roundings(pair, trial) if here else {}
        yield from ((one, rounded.get(one.output)) for one in here)
