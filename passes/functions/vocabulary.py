"""The words of users' expressions: constants, operators and functions, each with its SymPy meaning."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass

import sympy

from passes.evaluation.symbols import sigmoid, softplus
from rewriter.errors import UsageError


@dataclass(frozen=True)
class Word:
    """A function that expressions may call.

    Attributes:
        meaning: makes the SymPy expression from the arguments.
        arguments: how many it takes.
        real: whether SymPy must be able to tell that they are real: where it cannot, it may take minutes to find out
            what the function of a complex number is.
        kinked: whether its slope jumps, so that it has pieces, which multiply.
    """

    meaning: Callable[..., sympy.Expr]
    arguments: int = 1
    real: bool = False
    kinked: bool = False

    def apply(self, arguments: list[sympy.Expr], piece: str) -> sympy.Expr:
        """Return the expression of the function; ``piece`` is the user's text of the call, for messages.

        Raises:
            UsageError: it takes another number of arguments, or one that is not known to be real.
        """
        if len(arguments) != self.arguments:
            raise UsageError(
                expected=f"a call with {self.arguments} argument{'s' if self.arguments > 1 else ''}",
                found=piece,
                remedy="correct the expression",
            )
        if self.real and not all(argument.is_real for argument in arguments):
            raise UsageError(
                expected="a call whose argument is finite and real everywhere, as its form shows",
                found=f"{piece}, with a root, logarithm or quotient that may be undefined",
                remedy="write it another way",
            )
        return self.meaning(*arguments)


def relu(u: sympy.Expr) -> sympy.Expr:
    """Return ``max(0, u)``."""
    return maximum(u, sympy.S.Zero)


def maximum(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """Return the greater of two values, as pieces where they have none themselves: SymPy takes minutes over nests."""
    if a.has(sympy.Piecewise, sympy.Abs) or b.has(sympy.Piecewise, sympy.Abs):
        return (a + b + sympy.Abs(a - b)) / 2
    return sympy.Piecewise((a, a > b), (b, True))


def minimum(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """Return the lesser of two values."""
    return -maximum(-a, -b)


CONSTANTS: dict[str, sympy.Expr] = {"pi": sympy.pi, "e": sympy.E}

OPERATORS: dict[type[ast.operator], Callable[[sympy.Expr, sympy.Expr], sympy.Expr]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

FUNCTIONS: dict[str, Word] = {
    "exp": Word(sympy.exp),
    "log": Word(sympy.log),
    "sqrt": Word(sympy.sqrt),
    "sin": Word(sympy.sin),
    "cos": Word(sympy.cos),
    "sinh": Word(sympy.sinh, real=True),
    "cosh": Word(sympy.cosh, real=True),
    "tanh": Word(sympy.tanh, real=True),
    "atan": Word(sympy.atan),
    "erf": Word(sympy.erf),
    "sigmoid": Word(sigmoid),
    "softplus": Word(softplus),
    "relu": Word(relu, real=True, kinked=True),
    "abs": Word(sympy.Abs, real=True, kinked=True),
    "max": Word(maximum, 2, real=True, kinked=True),
    "min": Word(minimum, 2, real=True, kinked=True),
}
# As SymPy writes them.
FUNCTIONS |= {name: FUNCTIONS[name.lower()] for name in ("Abs", "Max", "Min")}
