"""The grammar of users' expressions: an allow-list over Python's syntax tree.

Nothing of the user's text is evaluated, imported or looked up as an attribute: every node of the tree is either one of
the few kinds built here or refused. The source is the method, section 2.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping, Sequence

import sympy

from passes.functions.domain import require_defined
from passes.functions.vocabulary import CONSTANTS, FUNCTIONS, OPERATORS
from rewriter.errors import UsageError
from rewriter.names import require_known

_LENGTH, _NODES, _DEPTH, _KINKS = 400, 160, 24, 4
_EXPONENT, _MAGNITUDE, _DIGITS = 16, 10**12, 30
_FOREIGN = re.compile(r"[^A-Za-z0-9_ .,+\-*/()]")


def parse_expression(text: str, variables: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Return the expression that a user's text stands for.

    The grammar: numbers, ``+ - * / **`` (with a constant exponent), parentheses, the names of ``variables``, the
    constants ``pi`` and ``e``, and the functions of :mod:`passes.functions.vocabulary`.

    Args:
        text: such as ``"x1*sigmoid(x2)"``.
        variables: the symbols whose names the text may use.

    Raises:
        UsageError: the text is outside the grammar or its limits (the offending piece is named), or the expression
            is undefined, infinite, or jumps somewhere on [-30, 30] (the point is named).
    """
    tree = _tree(text)
    try:
        expression = _Builder({symbol.name: symbol for symbol in variables}).build(tree)
        used = [symbol for symbol in variables if symbol in expression.free_symbols]
        require_defined(expression, used, shown(text))
    except (TypeError, ValueError, ArithmeticError, RecursionError):  # SymPy's answers to what is complex or singular
        raise UsageError(
            expected="an expression with a finite real value",
            found=f"one that has none everywhere, {shown(text)}",
            remedy="correct it",
        ) from None
    return expression


def shown(text: str) -> str:
    """Return a user's text, quoted on one line and cut to a readable length, for a message."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _tree(text: str) -> ast.expr:
    _limit(len(text), _LENGTH, "characters")
    foreign = _FOREIGN.search(text)
    if foreign:
        hint = "write powers with **" if foreign.group() == "^" else "take it out"
        raise _outside(repr(foreign.group()), f"{hint} in {shown(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python only warns about 1or 2
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _outside(shown(text), "write a formula such as 'x1*sigmoid(x2)'") from None
    nodes = list(ast.walk(tree))
    _limit(len(nodes), _NODES, "parts")
    called = [FUNCTIONS[node.id] for node in nodes if isinstance(node, ast.Name) and node.id in FUNCTIONS]
    _limit(sum(word.kinked for word in called), _KINKS, "kinks (relu, abs, max, min)")
    return tree


def _limit(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise UsageError(
            expected=f"an expression of at most {limit} {what}", found=f"one of {count}", remedy="write a shorter one"
        )


class _Builder:
    """Builds a SymPy expression from a syntax tree, refusing every node it does not know."""

    def __init__(self, variables: Mapping[str, sympy.Symbol]) -> None:
        self.names: dict[str, sympy.Expr] = {**CONSTANTS, **variables}

    def build(self, node: ast.expr, depth: int = 0) -> sympy.Expr:
        if depth > _DEPTH:
            raise UsageError(
                expected=f"an expression at most {_DEPTH} levels deep", found=_piece(node), remedy="nest it less"
            )
        value = self._value(node, depth + 1)
        _require_sound(value, node)
        return value

    def _value(self, node: ast.expr, depth: int) -> sympy.Expr:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return _number(number)
            case ast.Name(id=name):
                return self.names[require_known(name, self.names, "name in an expression")]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.build(operand, depth)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.build(operand, depth)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(self.build(left, depth), self.build(right, depth), node)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
                return OPERATORS[type(operator)](self.build(left, depth), self.build(right, depth))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                function = FUNCTIONS[require_known(name, FUNCTIONS, "function in an expression")]
                return function.apply([self.build(argument, depth) for argument in arguments], _piece(node))
        raise _outside(_piece(node), "take it out")

    @staticmethod
    def _power(base: sympy.Expr, exponent: sympy.Expr, node: ast.expr) -> sympy.Expr:
        if not exponent.is_Rational or abs(exponent) > _EXPONENT:
            raise UsageError(
                expected=f"a constant exponent between -{_EXPONENT} and {_EXPONENT}",
                found=_piece(node),
                remedy="write other powers with exp and log",
            )
        return base**exponent


def _number(number: int | float) -> sympy.Expr:
    if isinstance(number, float) and not math.isfinite(number):
        return sympy.oo
    return sympy.Rational(repr(number))


def _require_sound(value: sympy.Expr, node: ast.expr) -> None:
    if value.has(sympy.I, sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise UsageError(
            expected="an expression with a finite real value", found=f"none for {_piece(node)}", remedy="correct it"
        )
    if value.is_Rational:
        small = abs(value) <= _MAGNITUDE and value.q < 10**_DIGITS
    else:
        small = not value.is_number or _bounded(value)
    if not small:
        raise UsageError(
            expected=f"numbers of size up to {_MAGNITUDE:.0e} and {_DIGITS} digits",
            found=_piece(node),
            remedy="write smaller ones",
        )


def _bounded(value: sympy.Expr) -> bool:
    try:
        return abs(float(value)) <= _MAGNITUDE
    except (TypeError, OverflowError, ZeroDivisionError):  # not real, or beyond every float
        return False


def _piece(node: ast.expr) -> str:
    return shown(ast.unparse(node))


def _outside(found: str, remedy: str) -> UsageError:
    return UsageError(
        expected="numbers, variables, + - * / **, parentheses and known functions", found=found, remedy=remedy
    )
