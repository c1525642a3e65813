"""Expressions as people read them: pieces in braces, the variable first in a comparison, long numbers shortened."""

from __future__ import annotations

import sympy
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Or
from sympy.printing.str import StrPrinter

from passes.evaluation.symbols import variables, x
from passes.functions.decomposition import MOST_TERMS

_VARIABLES = (x, *variables(MOST_TERMS))
_LONGEST_DENOMINATOR = 100


class _Words(StrPrinter):  # type: ignore[misc]
    """SymPy's own text, but for pieces and comparisons."""

    def _print_Piecewise(self, expression: sympy.Piecewise) -> str:
        pieces = [
            f"{self._print(value)} {'otherwise' if condition == sympy.true else f'if {self._print(condition)}'}"
            for value, condition in expression.args
        ]
        return f"{{{', '.join(pieces)}}}"

    def _print_Relational(self, expression: Relational) -> str:
        turned = expression.reversed if expression.rhs in _VARIABLES else expression
        text: str = super()._print_Relational(turned)
        return text.replace("<=", "≤").replace(">=", "≥")

    def _print_Or(self, expression: Or) -> str:
        return " or ".join(sorted(self._print(one) for one in expression.args))

    def _print_And(self, expression: And) -> str:
        return " and ".join(sorted(self._print(one) for one in expression.args))

    def _print_Float(self, expression: sympy.Float) -> str:
        return f"{float(expression):.5g}"


def in_words(expression: sympy.Expr) -> str:
    """Return an expression as text for people; the text is not exact where a number is long."""
    long = {number: sympy.Float(number) for number in expression.atoms(sympy.Rational) if _is_long(number)}
    text: str = _Words().doprint(expression.xreplace(long))
    return text


def number_in_words(value: float) -> str:
    """Return a number in at most six digits."""
    return f"{value:.6g}"


def _is_long(number: sympy.Rational) -> bool:
    return bool(number.q > _LONGEST_DENOMINATOR)
