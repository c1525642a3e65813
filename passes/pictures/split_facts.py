"""What there is to know about one decomposition and its split adversarial function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy

from passes.functions.decomposition import Decomposition
from passes.functions.families import Bell, Constant, Exponential, Sigmoid
from passes.functions.split_terms import FamilyTerm, frozen_slope, split_term

# What each family calls its coefficients; the rate is fixed.
_KERNELS = {
    Constant: "scale",
    Exponential: "scale·exp(rate·x)",
    Sigmoid: "scale·sigmoid(rate·(x - centre))",
    Bell: "scale·sigmoid'(rate·(x - centre))",
}


@dataclass(frozen=True)
class TermFacts:
    """One term ``Gᵢ``, with ``Gᵢ' = ±1/(|s| + α)`` for the frozen slope ``s = ∂F/∂xᵢ``.

    Attributes:
        variable: ``x1`` to ``xn``.
        slope: s, in ``x``, every other variable at 1.
        family: such as ``"Bell"``, or ``"table"`` where s is in none.
        kernel: |s| by its coefficients, or what is trained of a table.
        rate: the family's fixed rate, or None.
        coefficients: the trained ones, at the values that they have when every frozen variable is 1.
    """

    variable: str
    slope: sympy.Expr
    family: str
    kernel: str
    rate: float | None
    coefficients: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "variable": self.variable,
            "slope": str(self.slope),
            "family": self.family,
            "kernel": self.kernel,
            "rate": self.rate,
            "coefficients": dict(self.coefficients),
        }


@dataclass(frozen=True)
class SplitFacts:
    """A decomposition F and the terms of its split adversarial function at one lift.

    Attributes:
        decomposition: F, what it is of, and its note.
        alpha: the lift α of the terms.
        terms: G₁ … Gₙ.
    """

    decomposition: Decomposition
    alpha: float
    terms: tuple[TermFacts, ...]

    def as_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "decomposition": self.decomposition.name,
            "of": self.decomposition.of,
            "terms": self.decomposition.terms,
            "F": str(self.decomposition.expression),
            "note": self.decomposition.note,
            "alpha": self.alpha,
            "G": [term.as_json() for term in self.terms],
        }


def split_facts(found: Decomposition, alpha: float = 1.0) -> SplitFacts:
    """Return the facts about a decomposition.

    Raises:
        UsageError: a negative α, or α = 0 where a term has no closed form.
    """
    found.adversarial(alpha)  # refuses an alpha that does not work
    return SplitFacts(found, alpha, tuple(_term_facts(found, i, alpha) for i in range(1, found.terms + 1)))


def _term_facts(found: Decomposition, i: int, alpha: float) -> TermFacts:
    slope = sympy.piecewise_fold(frozen_slope(found.expression, found.terms, i))
    term = split_term(found.expression, found.terms, i, alpha)
    if not isinstance(term, FamilyTerm):
        return TermFacts(f"x{i}", slope, "table", "scale·G", None, {"scale": 1.0})
    family = term.family
    coefficients = {"scale": family.scale} | ({"centre": family.centre} if isinstance(family, Sigmoid | Bell) else {})
    rate = None if isinstance(family, Constant) else family.rate
    return TermFacts(f"x{i}", slope, type(family).__name__, _KERNELS[type(family)], rate, coefficients)
