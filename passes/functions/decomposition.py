"""A decomposition of an activation: ``F(x₁,…,xₙ)`` with the diagonal identity ``F(x,…,x) = f(x)``.

Source: the NA paper; the method, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import sympy
import torch
from torch import Tensor

from passes.evaluation import precision
from passes.evaluation.symbols import variables, x
from passes.functions.grammar import parse_expression, shown
from passes.functions.growth import overflows
from passes.functions.program import Program, compile_expression
from passes.functions.split_adversarial import SplitAdversarialFunction, split_adversarial
from passes.functions.written_activation import activation_expression
from rewriter.errors import UsageError

MOST_TERMS = 8
_REACH, _POINTS, _TOLERANCE = 30.0, 10_000, 1e-10


@dataclass(frozen=True)
class Decomposition:
    """An activation written in ``terms`` variables.

    Attributes:
        name: such as ``"tanh/4"``, or the text of a user's expression.
        of: the activation that the diagonal equals: a canonical name, or a formula in ``x``.
        expression: F, in ``x1 … xn``.
        note: what a reader of a list should know about it, if anything.
        parameters: the activation's parameters that are not its defaults.

    Raises:
        UsageError: the diagonal identity does not hold (the worst point is named).
    """

    name: str
    of: str
    expression: sympy.Expr
    note: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._require_identity()

    @cached_property
    def terms(self) -> int:
        """The number n of split variables."""
        return len(self.expression.free_symbols)

    @cached_property
    def unbounded(self) -> bool:
        """Whether F, or its gradient, overflows for inputs within ±10⁴, so that they must be clamped."""
        return overflows(self.program, self.terms)

    @cached_property
    def program(self) -> Program:
        """F as torch operations."""
        return compile_expression(self.expression, variables(self.terms))

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return ``F(x1, …, xn)``, elementwise, in the inputs' dtype; nothing is clamped."""
        return precision.narrow(self.program(*[precision.widen(value) for value in inputs]), inputs[0])

    def adversarial(self, alpha: float = 1.0, combine: str = "sum", clamp: float = 4.0) -> SplitAdversarialFunction:
        """Return a new module of the split adversarial function A, as :func:`split_adversarial` does."""
        return split_adversarial(self.expression, self.terms, alpha, combine, clamp)

    def __deepcopy__(self, memo: object) -> Decomposition:
        """Return the object itself: it never changes."""
        return self

    def _require_identity(self) -> None:
        f = activation_expression(self.of, self.parameters)
        if self.expression.subs(dict.fromkeys(variables(self.terms), x)) == f:
            return
        points = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64, device="cpu")
        exact = compile_expression(f, (x,))(points)
        found = self.program(*[points] * self.terms)
        error = ((found - exact).abs() / exact.abs().clamp(min=1.0)).nan_to_num(nan=torch.inf)
        worst = int(error.argmax())
        if float(error[worst]) > _TOLERANCE:
            raise UsageError(
                expected=f"a decomposition with F(x,…,x) = {self.of}(x)",
                found=f"{shown(self.name)}, where F = {float(found[worst]):.6g} at x = {float(points[worst]):.6g} "
                f"instead of {float(exact[worst]):.6g}",
                remedy="correct the expression",
            )


def parse_decomposition(text: str, of: str, parameters: Mapping[str, float]) -> Decomposition:
    """Return the decomposition that a user's expression in ``x1 … xn`` stands for; n is how many it uses.

    Raises:
        UsageError: the text is outside the grammar, F is undefined somewhere, the variables are not x1 to xn with
            n ≥ 2, ``of`` is unknown, or the diagonal identity does not hold.
    """
    split = variables(MOST_TERMS)
    expression = parse_expression(text, split)
    used = [symbol for symbol in split if symbol in expression.free_symbols]
    if len(used) < 2 or used[-1] != split[len(used) - 1]:
        raise UsageError(
            expected="an expression in x1, x2 and so on, two or more, without a gap",
            found=f"{', '.join(map(str, used)) or 'none of them'} in {shown(text)}",
            remedy="number the variables from x1",
        )
    return Decomposition(text, of, expression, parameters=parameters)
