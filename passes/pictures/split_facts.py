"""What there is to know about one decomposition and its split adversarial function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy
from torch import nn

from passes.functions.decomposition import Decomposition
from passes.functions.families import Bell, Constant, Exponential, Sigmoid
from passes.functions.split_terms import FamilyTerm, frozen_slope
from passes.pictures.wording import in_words, number_in_words

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

    def in_words(self) -> list[tuple[str, str]]:
        """Return what people read, line by line: what it is, and its text."""
        fixed = "" if self.rate is None else f" with rate = {number_in_words(self.rate)}"
        trained = ", ".join(f"{name} = {number_in_words(value)}" for name, value in self.coefficients.items())
        return [
            (f"∂F/∂{self.variable}", in_words(self.slope)),
            (f"  G{self.variable[1:]}", f"{self.family}: {self.kernel}{fixed}; trained from {trained}"),
        ]

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

    def in_words(self) -> list[tuple[str, str]]:
        """Return what people read, line by line: what it is, and its text."""
        found = self.decomposition
        return [
            ("decomposition", found.name),
            ("of", found.of),
            ("terms", str(found.terms)),
            ("F", in_words(found.expression)),
            *([("note", found.note)] if found.note else []),
            ("Gᵢ", f"Gᵢ′ = ±1/(|∂F/∂xᵢ| + α) at α = {self.alpha:g}, the other variables frozen at 1"),
            *(line for term in self.terms for line in term.in_words()),
        ]

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
    terms = enumerate(found.adversarial(alpha).terms, start=1)
    return SplitFacts(found, alpha, tuple(_term_facts(found, i, term) for i, term in terms))


def _term_facts(found: Decomposition, i: int, term: nn.Module) -> TermFacts:
    slope = sympy.piecewise_fold(frozen_slope(found.expression, found.terms, i))
    if not isinstance(term, FamilyTerm):
        return TermFacts(f"x{i}", slope, "table", "scale·G", None, {"scale": 1.0})
    family = term.family
    coefficients = {"scale": family.scale} | ({"centre": family.centre} if isinstance(family, Sigmoid | Bell) else {})
    rate = None if isinstance(family, Constant) else family.rate
    return TermFacts(f"x{i}", slope, type(family).__name__, _KERNELS[type(family)], rate, coefficients)
