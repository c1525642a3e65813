"""What there is to know about one function and its adversarial function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import sympy

from passes.evaluation.symbols import x
from passes.functions.adversarial import Adversarial, adversarial
from passes.functions.catalogue import activation_names, catalogue_entry
from passes.functions.lift import infimum_lift, least_slope
from passes.functions.solver import Kind, Slope, slope_of
from passes.functions.symbolic import antiderivative
from passes.functions.written_activation import activation_expression
from passes.pictures.formula import closed_formula
from passes.pictures.wording import in_words, number_in_words

REACH = 30
_EXAMINED = 32  # least_slope examines [-32, 32]


@dataclass(frozen=True)
class FunctionFacts:
    """An activation f, its slope, and its adversarial function g at one lift.

    Attributes:
        name: a canonical name, or a formula in ``x``.
        expression: f, in ``x`` and the symbols of its parameters.
        derivative: f′, in the same.
        least_slope: of f′ over [-30, 30], the parameters at their defaults.
        greatest_slope: of the same.
        least_alpha: the infimum of the lifts at which there is a g.
        least_alpha_works: whether there is one at ``least_alpha`` itself.
        kind: of g: ``"closed"``, ``"sympy"`` or ``"table"``.
        formula: g, the parameters at their defaults; in ``x`` and, where it is closed and lifted, in α;
            its long coefficients to 1e-11. None for a table.
        alpha: the lift α of g.
        clamp: the bound put on the inputs of g, or None.
        parameters: the activation's parameters and their defaults.
    """

    name: str
    expression: sympy.Expr
    derivative: sympy.Expr
    least_slope: float
    greatest_slope: float
    least_alpha: float
    least_alpha_works: bool
    kind: Kind
    formula: sympy.Expr | None
    alpha: float
    clamp: float | None
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def slopes_in_words(self) -> str:
        """The range of f′, to four decimals."""
        least, greatest = (number_in_words(round(slope, 4)) for slope in (self.least_slope, self.greatest_slope))
        return f"{least} … {greatest}"

    @property
    def least_alpha_in_words(self) -> str:
        """The least lift."""
        return f"{'≥' if self.least_alpha_works else '>'} {number_in_words(self.least_alpha)}"

    @property
    def adversarial_in_words(self) -> str:
        """The formula of g, or its definition where it has none."""
        return "∫₀ˣ dt/(f′(t) + α), by a table" if self.formula is None else in_words(self.formula)

    def in_words(self) -> list[tuple[str, str]]:
        """Return what people read, line by line: what it is, and its text."""
        parameters = ", ".join(f"{name} = {value:g}" for name, value in self.parameters.items())
        clamp = "" if self.clamp is None else f", inputs clamped to ±{self.clamp:g}"
        return [
            ("function", self.name),
            *([("parameters", parameters)] if parameters else []),
            ("f(x)", in_words(self.expression)),
            ("f′(x)", in_words(self.derivative)),
            (f"f′ on [-{REACH}, {REACH}]", self.slopes_in_words),
            ("least α", self.least_alpha_in_words),
            (f"g at α = {self.alpha:g}", f"{self.kind}{clamp}"),
            ("g(x)", self.adversarial_in_words),
        ]

    def as_json(self) -> dict[str, object]:
        """Return the same for programs: numbers in full, expressions exact."""
        return {
            "function": self.name,
            "parameters": dict(self.parameters),
            "expression": str(self.expression),
            "derivative": str(self.derivative),
            "least_slope": self.least_slope,
            "greatest_slope": self.greatest_slope,
            "least_alpha": self.least_alpha,
            "least_alpha_works": self.least_alpha_works,
            "alpha": self.alpha,
            "clamp": self.clamp,
            "kind": self.kind,
            "adversarial": None if self.formula is None else str(self.formula),
        }


def function_facts(name: str, alpha: float = 1.0) -> FunctionFacts:
    """Return the facts about a function.

    Args:
        name: a canonical name of the catalogue, or a formula in ``x``.
        alpha: the lift of its adversarial function.

    Raises:
        UsageError: an unknown name, a formula outside the grammar, or an α too small.
    """
    slope = slope_of(activation_expression(name, {}))
    g = cast(Adversarial, adversarial(name, alpha))  # nothing is trained
    entry = catalogue_entry(name) if name in activation_names() else None
    expression = activation_expression(name, {}) if entry is None else entry.expression
    # A narrower range of x, seen on the range that least_slope examines.
    seen = slope.expression.subs(x, x * sympy.Rational(REACH, _EXAMINED))
    return FunctionFacts(
        name,
        expression,
        sympy.piecewise_fold(expression).diff(x),
        least_slope(seen),
        -least_slope(-seen),
        infimum_lift(slope.expression),
        slope.needs_no_lift,
        g.kind,
        _formula(slope, g.kind, alpha),
        alpha,
        g.clamp,
        {} if entry is None else entry.parameters,
    )


def _formula(slope: Slope, kind: Kind, alpha: float) -> sympy.Expr | None:
    if slope.closed is not None:
        return closed_formula(slope.closed, lifted=alpha > 0)
    if kind == "table":
        return None
    found = antiderivative(1 / (slope.expression + sympy.Rational(repr(float(alpha)))))
    return None if found is None else found - found.subs(x, 0)
