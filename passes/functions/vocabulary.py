"""The words of users' expressions: constants, operators and functions, each with its SymPy meaning."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import sympy

from passes.functions.symbols import sigmoid, softplus
from rewriter.errors import UsageError


@dataclass(frozen=True)
class Word:
    """A function that expressions may call.

    Attributes:
        meaning: makes the SymPy expression from the arguments.
        least: the fewest arguments it takes.
        most: the most arguments it takes.
    """

    meaning: Callable[..., sympy.Expr]
    least: int = 1
    most: int = 1

    def __call__(self, *arguments: sympy.Expr) -> sympy.Expr:
        """Return the expression of the function at ``arguments``."""
        return self.meaning(*arguments)

    def require_arguments(self, name: str, count: int) -> None:
        """Check the number of arguments.

        Raises:
            UsageError: the function takes more, or fewer.
        """
        if not self.least <= count <= self.most:
            takes = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
            raise UsageError(
                expected=f"{name} with {takes} argument{'s' if takes != '1' else ''}",
                found=str(count),
                remedy="correct the expression",
            )


def relu(u: sympy.Expr) -> sympy.Expr:
    """Return ``max(0, u)``."""
    return maximum(u, sympy.S.Zero)


def maximum(*values: sympy.Expr) -> sympy.Expr:
    """Return the greatest value, as pieces, whose derivative SymPy leaves free of distributions."""
    return reduce(lambda a, b: sympy.Piecewise((a, a > b), (b, True)), values)


def minimum(*values: sympy.Expr) -> sympy.Expr:
    """Return the least value, as pieces."""
    return reduce(lambda a, b: sympy.Piecewise((a, a < b), (b, True)), values)


def absolute(u: sympy.Expr) -> sympy.Expr:
    """Return ``|u|``; as pieces where SymPy cannot tell that ``u`` is real, and would look for its complex modulus."""
    return sympy.Abs(u) if u.is_real else maximum(u, -u)


CONSTANTS: dict[str, sympy.Expr] = {"pi": sympy.pi, "e": sympy.E}

OPERATORS: dict[type[ast.operator], Callable[[sympy.Expr, sympy.Expr], sympy.Expr]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

_MOST = 4

FUNCTIONS: dict[str, Word] = {
    "exp": Word(sympy.exp),
    "log": Word(sympy.log),
    "sqrt": Word(sympy.sqrt),
    "sin": Word(sympy.sin),
    "cos": Word(sympy.cos),
    "sinh": Word(sympy.sinh),
    "cosh": Word(sympy.cosh),
    "tanh": Word(sympy.tanh),
    "atan": Word(sympy.atan),
    "erf": Word(sympy.erf),
    "sigmoid": Word(sigmoid),
    "softplus": Word(softplus),
    "relu": Word(relu),
    "Abs": Word(absolute),
    "abs": Word(absolute),
    "Max": Word(maximum, 2, _MOST),
    "max": Word(maximum, 2, _MOST),
    "Min": Word(minimum, 2, _MOST),
    "min": Word(minimum, 2, _MOST),
}
