"""The error for an export that differs: the worst of it, and where that begins unless it is rounding alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
    others = [other for other in trials if other is not trial and any(one.is_of(other) for one in failed)]
    here, *elsewhere = (roundings(pair, one) for one in (trial, *others))
    beside = f" ({here[worst.output]})" if worst.output in here else ""
    expected = f"max|Δ|/max|y| of at most {worst.tolerance:g} between {target} and eager PyTorch"
    found = f"{worst.max_rel:.3g} in {worst.output!r} {trial}{beside}"
    if all(_is_rounding_alone(name, [here, *elsewhere]) for name in {one.output for one in failed}):
        return IllConditionedError(
            expected=expected,
            found=found,
            remedy="train the model first, or compare on real inputs: here the outputs hang on how numbers are rounded",
        )
    return ValidationError(expected=expected, found=f"{found}: {diagnosis(pair, target, trial)}", remedy=REMEDY)


def _is_rounding_alone(output: str, rounded: Iterable[Mapping[str, Rounding]]) -> bool:
    """Judge an output by its worst trials, since where digits get lost eager PyTorch may be lucky once."""
    found = [each[output] for each in rounded if output in each]
    return bool(found) and Rounding(max(r.eager for r in found), max(r.exported for r in found)).alone
