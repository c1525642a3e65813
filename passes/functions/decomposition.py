"""A decomposition of an activation: ``F(x₁,…,xₙ)`` with the diagonal identity ``F(x,…,x) = f(x)``.

Source: the NA paper; the method, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import sympy
import torch
from torch import Tensor

from passes.functions import precision
from passes.functions.catalogue import catalogue_entry
from passes.functions.program import Program, compile_expression
from passes.functions.split_adversarial import SplitAdversarialFunction, split_adversarial
from passes.functions.symbols import variables, x
from rewriter.errors import UsageError

_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Decomposition:
    """An activation written in ``terms`` variables.

    Attributes:
        name: such as ``"tanh/4"``.
        of: the canonical name of the activation that the diagonal equals.
        expression: F, in ``x1 … xn``.
        note: what a reader of a list should know about it, if anything.

    Raises:
        UsageError: the diagonal identity does not hold (the worst point is named).
    """

    name: str
    of: str
    expression: sympy.Expr
    note: str = ""

    def __post_init__(self) -> None:
        self._require_identity()

    @cached_property
    def terms(self) -> int:
        """The number n of split variables."""
        return len(self.expression.free_symbols)

    @property
    def unbounded(self) -> bool:
        """Whether F grows exponentially, so that its inputs must be clamped."""
        return bool(self.expression.has(sympy.exp))

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
        f = catalogue_entry(self.of).at({})
        if self.expression.subs(dict.fromkeys(variables(self.terms), x)) == f:
            return
        points = torch.linspace(-12.0, 12.0, 10_000, dtype=torch.float64, device="cpu")
        exact = compile_expression(f, (x,))(points)
        found = self.program(*[points] * self.terms)
        error = ((found - exact).abs() / exact.abs().clamp(min=1.0)).nan_to_num(nan=torch.inf)
        worst = int(error.argmax())
        if float(error[worst]) > _TOLERANCE:
            raise UsageError(
                expected=f"a decomposition with F(x,…,x) = {self.of}(x)",
                found=f"{self.name}, where F = {float(found[worst]):.6g} at x = {float(points[worst]):.6g} "
                f"instead of {float(exact[worst]):.6g}",
                remedy="correct the expression",
            )
