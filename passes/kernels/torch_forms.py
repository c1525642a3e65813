"""What torch operations on elementwise values are as steps of a routine."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional

from passes.kernels.lowering import Lowering


@dataclass(frozen=True)
class Register:
    """A value that is computed; numbers stand for themselves."""

    index: int


Operand = Register | float
Form = Callable[..., Operand]


def register(code: Lowering, operand: Operand) -> int:
    """Return the register of an operand."""
    return operand.index if isinstance(operand, Register) else code.number(float(operand))


def form_of(target: Any) -> Form | None:
    """Return what makes the steps of a torch function, or of a tensor's method by its name; None where nothing does.

    It takes the code, then the operands as the torch operation has them.
    """
    return _FORMS.get(target)


def _step(operation: str) -> Form:
    def form(code: Lowering, *operands: Operand) -> Operand:
        return Register(code.step(operation, *[register(code, operand) for operand in operands]))

    return form


def _add(code: Lowering, a: Operand, b: Operand, *, alpha: float = 1.0) -> Operand:
    if not isinstance(a, Register) and alpha == 1.0:
        a, b = b, a
    if not isinstance(b, Register):
        return a if b == 0 else _step("add")(code, a, b * alpha)
    if not isinstance(a, Register):
        return _step("affine")(code, a, b, alpha)
    return _step("add")(code, a, b) if alpha == 1.0 else _step("scaled_add")(code, a, b, alpha)


def _sub(code: Lowering, a: Operand, b: Operand, *, alpha: float = 1.0) -> Operand:
    return _add(code, a, b, alpha=-alpha)


def _mul(code: Lowering, a: Operand, b: Operand) -> Operand:
    value, factor = (a, b) if isinstance(a, Register) else (b, a)
    return value if factor == 1.0 else _step("mul")(code, value, factor)


def _neg(code: Lowering, a: Operand) -> Operand:
    return _mul(code, a, -1.0)


def _addcmul(code: Lowering, a: Operand, b: Operand, c: Operand, *, value: float = 1.0) -> Operand:
    return _step("add_product")(code, a, b, c, value)


def _power(code: Lowering, base: Operand, exponent: float) -> Operand:
    """Multiply where the exponent is whole, since the factor may be negative."""
    if exponent == 1:
        return base
    if exponent != int(exponent) or exponent < 1:
        return _step("pow")(code, base, exponent)
    half = _step("square")(code, _power(code, base, exponent // 2))
    return _mul(code, half, base) if exponent % 2 else half


def _clamp(code: Lowering, a: Operand, min: float | None = None, max: float | None = None) -> Operand:
    if min is not None:
        a = _step("at_least")(code, a, min)
    return a if max is None else _step("at_most")(code, a, max)


def _threshold(code: Lowering, a: Operand, threshold: float, value: float, inplace: bool = False) -> Operand:
    return _step("where")(code, _step("gt")(code, a, threshold), a, value)


def _where_method(code: Lowering, inside: Operand, condition: Operand, outside: Operand) -> Operand:
    return _step("where")(code, condition, inside, outside)


_SAME: Final = (
    *("exp", "log", "sin", "cos", "sinh", "cosh", "tanh", "atan", "atanh", "erf", "sigmoid", "abs", "sign", "sqrt"),
    *("square", "expm1", "log1p"),
)
_NAMED: Final[Mapping[str, Form]] = {
    **{name: _step(name) for name in _SAME},
    **{name: _step(name) for name in ("gt", "ge", "lt", "le", "where")},
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _step("div"),
    "neg": _neg,
    "pow": _power,
    "relu": _step("ramp"),
    "reciprocal": lambda code, a: _step("div")(code, 1.0, a),
    "maximum": _step("at_least"),
    "minimum": _step("at_most"),
    "addcmul": _addcmul,
    "clamp": _clamp,
    "logical_and": _step("and"),
    "logical_or": _step("or"),
    "logical_not": _step("not"),
    "full_like": lambda code, like, value: value,
}
_FORMS: Final[Mapping[Any, Form]] = {
    **{getattr(torch, name): form for name, form in _NAMED.items()},
    **{name: form for name, form in _NAMED.items() if name not in ("where", "full_like")},
    **{getattr(operator, name): _NAMED[name] for name in ("add", "sub", "mul", "neg", "gt", "ge", "lt", "le")},
    operator.truediv: _NAMED["div"],
    functional.relu: _NAMED["relu"],
    functional.threshold: _threshold,
    functional.softplus: lambda code, a, threshold=20.0: _step("softplus")(code, a),
    "where": _where_method,
    "new_zeros": lambda code, like, size: 0.0,
}
