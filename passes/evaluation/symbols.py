"""The SymPy vocabulary in which activations and decompositions are written."""

from __future__ import annotations

from typing import Any

import sympy

x = sympy.Symbol("x", real=True)


def variables(count: int) -> tuple[sympy.Symbol, ...]:
    """Return the split variables ``x1 … xn`` of a decomposition with ``count`` terms."""
    return tuple(sympy.Symbol(f"x{i}", real=True) for i in range(1, count + 1))


class sigmoid(sympy.Function):  # type: ignore[misc]
    """The logistic function ``1/(1+e^-u)``, kept whole so that it is evaluated without overflow."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Return ``sigmoid(u)·(1 - sigmoid(u))``."""
        return self * (1 - self)

    def _eval_rewrite_as_exp(self, argument: sympy.Expr, **_: Any) -> sympy.Expr:
        return 1 / (1 + sympy.exp(-argument))

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return self.rewrite(sympy.exp)._eval_evalf(prec)

    def _eval_is_real(self) -> bool | None:
        real: bool | None = self.args[0].is_real
        return real


class softplus(sympy.Function):  # type: ignore[misc]
    """``ln(1+e^u)``, kept whole so that it is evaluated without overflow."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Return ``sigmoid(u)``."""
        return sigmoid(self.args[0])

    def _eval_rewrite_as_exp(self, argument: sympy.Expr, **_: Any) -> sympy.Expr:
        return sympy.log(1 + sympy.exp(argument))

    def _eval_evalf(self, prec: int) -> sympy.Expr:
        return self.rewrite(sympy.exp)._eval_evalf(prec)

    def _eval_is_real(self) -> bool | None:
        real: bool | None = self.args[0].is_real
        return real
