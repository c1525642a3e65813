"""The operations of a routine in C.

The text has ``{0}``, ``{1}`` and so on for the operands, and of a table's operand also ``{1}_cells`` and
``{1}_per_unit``; ``F(exp)`` is the function of the precision at hand. Comparisons treat NaN as torch does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FUNCTIONS: Final = (
    *("exp", "expm1", "log", "log1p", "sin", "cos", "sinh", "cosh"),
    *("tanh", "atan", "atanh", "erf", "sqrt", "fabs"),
)

C_FORMS: Final[Mapping[str, str]] = {
    **{name: f"F({name})({{0}})" for name in FUNCTIONS if name != "fabs"},
    # A lane where the logarithm is undefined, though another piece of a function is chosen there, would hold all up.
    "log1p": '({0} < -1 ? (real)__builtin_nan("") : F(log1p)({0} < -1 ? 0 : {0}))',
    "copy": "{0}",
    "add": "({0} + {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "scaled_add": "({0} + {1} * {2})",
    "affine": "({0} + {1} * {2})",
    "add_product": "({0} + {1} * {2} * {3})",
    "bell": "({0} - {0} * {0})",
    "square": "({0} * {0})",
    "pow": "F(pow)({0}, {1})",
    "exp_of_minus": "F(exp)(-{0})",
    "sigmoid": "(1 / (1 + F(exp)(-{0})))",
    "softplus": "(({0} > 0 ? {0} : 0) + F(log1p)(F(exp)(-F(fabs)({0}))))",
    "abs": "F(fabs)({0})",
    "sign": "(real)(({0} > 0) - ({0} < 0))",
    "ramp": "({0} <= 0 ? 0 : {0})",
    "clamp": "({0} > {1} ? {1} : {0} < -{1} ? -{1} : {0})",
    "at_least": "({0} < {1} ? {1} : {0})",
    "at_most": "({0} > {1} ? {1} : {0})",
    "positive": "({1} <= 0 ? 0 : {0})",
    "within": "(F(fabs)({1}) < {2} ? {0} : 0)",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "and": "({0} & {1})",
    "or": "({0} | {1})",
    "not": "(!{0})",
    "lookup": "lookup({0}, {1}, {1}_cells, {1}_per_unit)",
    "where": "({0} ? {1} : {2})",
}
