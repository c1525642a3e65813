"""Lowering of expressions to the fewest operations of a routine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import sympy
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Not, Or

from passes.evaluation.symbols import sigmoid, softplus
from passes.kernels.factors import GATES, is_quotient, pair
from passes.kernels.words import held, positive, ramp, tabulated
from rewriter.errors import UsageError

_ALIKE = (
    *(sympy.exp, sympy.log, sympy.sin, sympy.cos, sympy.sinh, sympy.cosh),
    *(sympy.tanh, sympy.atan, sympy.atanh, sympy.erf, sympy.sign),
)
_NAMES: Mapping[type[sympy.Basic], str] = {
    **{function: function.__name__ for function in _ALIKE},
    sympy.Abs: "abs",
    sigmoid: "sigmoid",
    softplus: "softplus",
    tabulated: "lookup",
    ramp: "ramp",
    held: "clamp",
    sympy.StrictGreaterThan: "gt",
    sympy.GreaterThan: "ge",
    sympy.StrictLessThan: "lt",
    sympy.LessThan: "le",
    And: "and",
    Or: "or",
    Not: "not",
}


@dataclass(frozen=True)
class Step:
    """One operation: its name, and the registers of its operands."""

    operation: str
    operands: tuple[int, ...]


@dataclass
class Lowering:
    """Straight-line code under construction; every distinct step is made once.

    Registers are numbered in the order of their making. A register is uniform where its value is the same for all
    elements: a number, a coefficient, or what is computed from them alone.

    Attributes:
        steps: of each register, its operation; its value, if it is a number; or None, if it is an input.
        uniform: of each register, whether it is.
    """

    steps: list[Step | float | None] = field(default_factory=list)
    uniform: list[bool] = field(default_factory=list)
    _made: dict[Any, int] = field(default_factory=dict)
    _meanings: dict[sympy.Symbol, sympy.Expr] = field(default_factory=dict)

    def input(self, symbol: sympy.Symbol, uniform: bool = False) -> int:
        """Make the register of an input."""
        self._made[symbol] = self._new(None, uniform)
        return self._made[symbol]

    def bind(self, symbol: sympy.Symbol, register: int) -> None:
        """Let a symbol stand for a register."""
        self._made[symbol] = register

    def step(self, operation: str, *operands: int) -> int:
        """Make the register of an operation."""
        step = Step(operation, operands)
        if step not in self._made:
            self._made[step] = self._new(step, all(self.uniform[operand] for operand in operands))
        return self._made[step]

    def number(self, value: float) -> int:
        """Make the register of a number."""
        if value not in self._made:
            self._made[value] = self._new(value, True)
        return self._made[value]

    def lower_all(self, expressions: Sequence[sympy.Expr]) -> list[int]:
        """Lower expressions; what they share is computed once."""
        names = sympy.numbered_symbols("part", start=len(self._meanings), real=True)
        parts, results = sympy.cse(list(expressions), symbols=names)
        for symbol, meaning in parts:
            self._meanings[symbol] = meaning
            self._made[symbol] = self.lower(meaning)
        return [self.lower(result) for result in results]

    def lower(self, expression: Any) -> int:
        """Return the register of an expression in the symbols that have one.

        Raises:
            UsageError: it contains a function that no operation stands for.
        """
        if expression not in self._made:
            self._made[expression] = self._lowered(expression)
        return self._made[expression]

    def _new(self, step: Step | float | None, uniform: bool) -> int:
        self.steps.append(step)
        self.uniform.append(uniform)
        return len(self.steps) - 1

    def _lowered(self, expression: Any) -> int:
        if getattr(expression, "is_number", False):
            return self.number(float(expression))
        if isinstance(expression, sympy.Add):
            return self._sum(expression)
        if isinstance(expression, sympy.Mul):
            return self._product(expression)
        if isinstance(expression, sympy.Pow):
            return self._power(*expression.args)
        if isinstance(expression, sympy.Piecewise):
            return self._pieces(expression)
        if isinstance(expression, GATES):
            return self._gated(self.number(1.0), expression)
        if isinstance(expression, sympy.exp) and expression.args[0].could_extract_minus_sign():
            return self.step("exp_of_minus", self.lower(-expression.args[0]))
        name = _NAMES.get(type(expression))
        if name is None:
            raise UsageError(
                expected=f"an expression made of {', '.join(sorted(_NAMES.values()))}",
                found=str(expression),
                remedy="write it with those functions",
            )
        if isinstance(expression, Relational):
            expression = type(expression)(expression.lhs - expression.rhs, 0, evaluate=False)
        operands = [self.lower(argument) for argument in expression.args]
        return reduce(lambda a, b: self.step(name, a, b), operands) if len(operands) > 1 else self.step(name, *operands)

    def _is_uniform(self, expression: sympy.Expr) -> bool:
        return all(self.uniform[self._made[symbol]] for symbol in expression.free_symbols)

    def _split(self, product: sympy.Expr) -> tuple[sympy.Expr, list[sympy.Expr]]:
        """Return the uniform factor of a product and the other factors."""
        uniform: list[sympy.Expr] = []
        other: list[sympy.Expr] = []
        for factor in sympy.Mul.make_args(product):
            (uniform if self._is_uniform(factor) else other).append(factor)
        return sympy.Mul(*uniform), other

    def _sum(self, expression: sympy.Add) -> int:
        constant, plain, scaled, products = sympy.S.Zero, [], [], []
        for term in expression.as_ordered_terms():
            scale, factors = self._split(term)
            two = pair(factors)
            if not factors:
                constant += scale
            elif two is not None and term not in self._made:
                products.append((scale, self.lower(two[0]), self.lower(two[1])))
            elif scale == 1:
                plain.append(self.lower(term))
            else:
                scaled.append((scale, self.lower(sympy.Mul(*factors))))
        if not plain and not scaled and not products:
            return reduce(lambda a, b: self.step("add", a, b), map(self.lower, expression.args))
        if plain:
            total = plain.pop(0)
        elif scaled and constant != 0:
            scale, register = scaled.pop(0)
            total = self.step("affine", self.lower(constant), register, self.lower(scale))
            constant = sympy.S.Zero
        elif scaled:
            scale, register = scaled.pop(0)
            total = self._scaled(register, scale)
        else:
            scale, a, b = products.pop(0)
            total = self._scaled(self.step("mul", a, b), scale)
        for register in plain:
            total = self.step("add", total, register)
        for scale, register in scaled:
            total = self.step("scaled_add", total, register, self.lower(scale))
        for scale, a, b in products:
            total = self.step("add_product", total, a, b, self.lower(scale))
        return total if constant == 0 else self.step("add", total, self.lower(constant))

    def _scaled(self, register: int, scale: sympy.Expr) -> int:
        return register if scale == 1 else self.step("mul", register, self.lower(scale))

    def _product(self, expression: sympy.Mul) -> int:
        scale, factors = self._split(expression)
        if not factors:
            return reduce(lambda a, b: self.step("mul", a, b), map(self.lower, expression.args))
        above = [factor for factor in factors if not is_quotient(factor) and not isinstance(factor, GATES)]
        below = [self.lower(factor.base**-factor.exp) for factor in factors if is_quotient(factor)]
        registers = self._factors(above)
        value = reduce(lambda a, b: self.step("mul", a, b), registers) if registers else self.lower(scale)
        if below:
            value = self.step("div", value, reduce(lambda a, b: self.step("mul", a, b), below))
        if registers:
            value = self._scaled(value, scale)
        for gate in (factor for factor in factors if isinstance(factor, GATES)):
            value = self._gated(value, gate)
        return value

    def _gated(self, value: int, gate: sympy.Expr) -> int:
        return self.step("positive" if isinstance(gate, positive) else "within", value, *map(self.lower, gate.args))

    def _factors(self, factors: list[sympy.Expr]) -> list[int]:
        """Lower factors; ``a·(1-a)`` is one operation."""
        left, registers = list(factors), []
        for factor in factors:
            rest = next((other for other in left if self._meaning(other) == 1 - factor), None)
            if factor in left and rest is not None:
                left.remove(factor)
                left.remove(rest)
                registers.append(self.step("bell", self.lower(factor)))
        return [self.lower(factor) for factor in left] + registers

    def _meaning(self, expression: sympy.Expr) -> sympy.Expr:
        return self._meanings.get(expression, expression)

    def _power(self, base: sympy.Expr, exponent: sympy.Expr) -> int:
        if exponent.is_Integer and exponent > 1:  # by factors, which may be negative
            half = self.step("square", self.lower(base ** (exponent // 2)))
            return half if exponent % 2 == 0 else self.step("mul", half, self.lower(base))
        if exponent.is_negative:
            return self.step("div", self.number(1.0), self.lower(base**-exponent))
        if exponent == sympy.Rational(1, 2):
            return self.step("sqrt", self.lower(base))
        return self.step("pow", self.lower(base), self.lower(exponent))

    def _pieces(self, expression: sympy.Piecewise) -> int:
        *pieces, (last, _) = expression.args
        value = self.lower(last)
        for piece, condition in reversed(pieces):
            value = self.step("where", self.lower(condition), self.lower(piece), value)
        return value
