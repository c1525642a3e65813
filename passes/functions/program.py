"""A SymPy expression as a straight-line program of torch operations.

Every distinct sub-expression is one step, so nothing is computed twice, and no code is generated or evaluated as text.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import sympy
import torch
from sympy import Gt, Lt
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Boolean, Not, Or
from torch import Tensor
from torch.nn import functional

from passes.evaluation.symbols import sigmoid, softplus
from rewriter.errors import UsageError


def _softplus(u: Tensor) -> Tensor:
    # torch's own threshold of 20 leaves an error of e^-20.
    return functional.softplus(u, threshold=40.0)


_FUNCTIONS: dict[type[sympy.Basic], Callable[..., Any]] = {
    sympy.exp: torch.exp,
    sympy.log: torch.log,
    sympy.sin: torch.sin,
    sympy.cos: torch.cos,
    sympy.sinh: torch.sinh,
    sympy.cosh: torch.cosh,
    sympy.tanh: torch.tanh,
    sympy.atan: torch.atan,
    sympy.erf: torch.erf,
    sympy.Abs: torch.abs,
    sympy.sign: torch.sign,
    sigmoid: torch.sigmoid,
    softplus: _softplus,
    sympy.StrictGreaterThan: torch.gt,
    sympy.GreaterThan: torch.ge,
    sympy.StrictLessThan: torch.lt,
    sympy.LessThan: torch.le,
    sympy.Equality: torch.eq,
    sympy.Unequality: torch.ne,
    And: torch.logical_and,
    Or: torch.logical_or,
    Not: torch.logical_not,
}


@dataclass(frozen=True)
class Program:
    """Straight-line code: registers hold the inputs, then the constants, then one result per step."""

    constants: tuple[float, ...]
    steps: tuple[tuple[Callable[..., Any], tuple[int, ...]], ...]
    result: int

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Evaluate elementwise; the inputs broadcast, and the result has their common dtype."""
        registers: list[Any] = [*inputs, *self.constants]
        for operation, arguments in self.steps:
            registers.append(operation(*[registers[i] for i in arguments]))
        value: Tensor = registers[self.result]
        return value


class _Compiler:
    """Lowers expressions to registers, each distinct sub-expression once."""

    def __init__(self, symbols: Sequence[sympy.Symbol]) -> None:
        self.inputs = len(symbols)
        self.known: dict[Any, int] = {symbol: i for i, symbol in enumerate(symbols)}
        self.constants: list[float] = []
        # Constants are numbered from -1 down until their count is known.
        self.steps: list[tuple[Callable[..., Any], tuple[int, ...]]] = []

    def step(self, operation: Callable[..., Any], *arguments: int) -> int:
        key = (operation, arguments)
        if key not in self.known:
            self.steps.append((operation, arguments))
            self.known[key] = self.inputs + len(self.steps) - 1
        return self.known[key]

    def constant(self, value: float) -> int:
        if value not in self.constants:
            self.constants.append(value)
        return -1 - self.constants.index(value)

    def tensor(self, expression: sympy.Expr) -> int:
        """Lower ``expression`` to a register that holds a tensor even where the expression is a number."""
        register = self.lower(expression)
        return register if register >= 0 else self.step(torch.full_like, 0, register)

    def lower(self, expression: Any) -> int:
        if expression not in self.known:
            self.known[expression] = self._lower(expression)
        return self.known[expression]

    def _lower(self, expression: Any) -> int:
        if getattr(expression, "is_number", False):
            return self.constant(float(expression))
        if isinstance(expression, sympy.Add):
            return self._sum(expression)
        if isinstance(expression, sympy.Mul):
            return self._product(expression)
        if isinstance(expression, sympy.Pow):
            return self._power(expression)
        if isinstance(expression, sympy.Piecewise):
            return self._piecewise(expression)
        operation = _FUNCTIONS.get(type(expression))
        if operation is None:
            raise UsageError(
                expected=f"an expression made of {', '.join(sorted(f.__name__ for f in _FUNCTIONS))}",
                found=str(expression),
                remedy="write it with those functions",
            )
        if isinstance(expression, Relational):
            left, right = expression.args
            return self.step(operation, self.tensor(left), self.lower(right))
        if isinstance(expression, And | Or):
            return reduce(lambda a, b: self.step(operation, a, b), [self.lower(a) for a in expression.args])
        return self.step(operation, *[self.tensor(argument) for argument in expression.args])

    def _sum(self, expression: sympy.Add) -> int:
        terms = expression.as_ordered_terms()
        terms.sort(key=lambda term: bool(term.could_extract_minus_sign()))
        total = self.lower(terms[0])
        for term in terms[1:]:
            if term.could_extract_minus_sign():
                total = self.step(operator.sub, total, self.lower(-term))
            else:
                total = self.step(operator.add, total, self.lower(term))
        return total

    def _product(self, expression: sympy.Mul) -> int:
        scale, above, below = 1.0, [], []
        for factor in expression.as_ordered_factors():
            base, exponent = factor.as_base_exp() if isinstance(factor, sympy.Pow) else (factor, sympy.S.One)
            if factor.is_number:
                scale *= float(factor)
            elif exponent.is_negative:
                below.append(self.lower(base**-exponent))
            else:
                above.append(self.lower(factor))
        value = reduce(lambda a, b: self.step(operator.mul, a, b), above) if above else self.constant(scale)
        for divisor in below:
            value = self.step(operator.truediv, value, divisor)
        if not above or scale == 1.0:
            return value
        return self.step(operator.neg, value) if scale == -1.0 else self.step(operator.mul, value, self.constant(scale))

    def _power(self, expression: sympy.Pow) -> int:
        base, exponent = expression.args
        if exponent == 2:
            return self.step(torch.square, self.lower(base))
        if exponent.is_negative:
            return self.step(torch.reciprocal, self.lower(base**-exponent))
        if exponent == sympy.Rational(1, 2):
            return self.step(torch.sqrt, self.lower(base))
        return self.step(torch.pow, self.lower(base), self.lower(exponent))

    def _piecewise(self, expression: sympy.Piecewise) -> int:
        pieces = list(expression.args)
        last, condition = pieces.pop()
        value = self.tensor(last)
        if condition is not sympy.true:
            value = self.step(torch.where, self.lower(condition), value, self.tensor(sympy.nan))
        for piece, condition in reversed(pieces):
            if not isinstance(condition, Boolean):
                raise TypeError(f"a condition of {expression} is not a comparison: {condition}")
            if all(branch.expr.is_number for branch in expression.args):
                value = self._blended(condition, self.tensor(piece), value)
            else:
                value = self.step(torch.where, self.lower(condition), self.tensor(piece), value)
        return value

    def _blended(self, condition: Boolean, inside: int, outside: int) -> int:
        """Choose between constants by arithmetic.

        A compiler would keep the booleans of a comparison for the backward pass, and inductor writes and reads them
        several times slower than it computes the numbers again.
        """
        difference = self.step(operator.sub, inside, outside)
        return self.step(operator.add, outside, self.step(operator.mul, difference, self._indicator(condition)))

    def _indicator(self, condition: Boolean) -> int:
        """1 where a condition holds, else 0."""
        match condition:
            case Gt() | Lt():
                return self.step(torch.relu, self.step(torch.sign, self.tensor(condition.gts - condition.lts)))
            case Relational():
                return self.step(operator.sub, self.constant(1.0), self._indicator(condition.negated))
            case And() | Or():
                join = torch.minimum if isinstance(condition, And) else torch.maximum
                return reduce(lambda a, b: self.step(join, a, b), map(self._indicator, condition.args))
        raise TypeError(f"{condition} is no comparison, nor several")


def compile_expression(expression: sympy.Expr, symbols: Sequence[sympy.Symbol]) -> Program:
    """Compile ``expression`` in ``symbols`` (the inputs, in this order) to a :class:`Program`.

    Raises:
        UsageError: the expression uses a function that has no torch operation here.
    """
    compiler = _Compiler(symbols)
    result = compiler.tensor(expression)
    inputs, constants = compiler.inputs, len(compiler.constants)

    def place(register: int) -> int:
        if register < 0:
            return inputs - 1 - register
        return register if register < inputs else register + constants

    steps = tuple((operation, tuple(place(a) for a in arguments)) for operation, arguments in compiler.steps)
    return Program(tuple(compiler.constants), steps, place(result))
