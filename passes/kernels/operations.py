"""The elementwise operations of a routine: what each is in torch, on Python's numbers, and in Triton.

A torch form writes into the tensor it is given last, which may be one of its operands. The forms are the quickest that
are exact to rounding: torch's softplus and logarithm, for one, take five times as long as its logarithm of a sigmoid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from passes.kernels.lookup import lookup

aten = torch.ops.aten
_LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        torch: called with the operands (tensors or numbers) and the tensor to write into.
        triton: its text, with ``{0}``, ``{1}`` and so on for the operands; of a table's operand
            there are also ``{1}_cells`` and ``{1}_per_unit``.
        number: the same on Python's numbers, if trained coefficients need it.
        is_condition: whether the result is of booleans.
    """

    torch: Callable[..., object]
    triton: str
    number: Callable[..., float] | None = None
    is_condition: bool = False


def _filled(value: Any, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full((), value, dtype=like.dtype, device=like.device)


def _affine(constant: float, a: Tensor, factor: float, out: Tensor) -> None:
    torch.add(_filled(constant, out), a, alpha=factor, out=out)


def _div(a: Any, b: Any, out: Tensor) -> None:
    torch.div(_filled(a, out), b, out=out)


def _softplus(u: Tensor, out: Tensor) -> None:
    torch.neg(u, out=out)
    aten.log_sigmoid_forward.output(out, output=out, buffer=torch.empty_like(out))
    out.neg_()


def _where(condition: Tensor, inside: Any, outside: Any, out: Tensor) -> None:
    torch.where(condition, _filled(inside, out), _filled(outside, out), out=out)


def _exponential(sign: int) -> Callable[[Tensor, Tensor], object]:
    # Powers of 2 take a third of the time.
    return lambda u, out: torch.mul(u, sign * _LOG2_E, out=out).exp2_()


def _power(base: Any, exponent: Any, out: Tensor) -> None:
    torch.pow(base, exponent, out=out)


def _unary(function: Callable[..., Any]) -> Callable[..., object]:
    return lambda u, out: function(u, out=out)


def _binary(function: Callable[..., Any]) -> Callable[..., object]:
    return lambda a, b, out: function(a, b, out=out)


def _softplus_of_number(u: float) -> float:
    return max(u, 0.0) + math.log1p(math.exp(-abs(u)))


def _polynomial(variable: str, coefficients: Sequence[float]) -> str:
    """Write ``Σ cᵢ·uⁱ`` in Horner's form; a bare number would be float32."""
    *others, last = (f"tl.full((), {c!r}, WIDE)" for c in coefficients)
    return reduce(lambda text, c: f"({text} * {variable} + {c})", reversed(others), last)


# Near 0, where a processor's exponential and logarithm have lost what these are for, their series in double precision.
_SERIES_OF_EXPM1 = "{0} * " + _polynomial("{0}", [1 / math.factorial(i) for i in range(1, 16)])
_FALL = "(" + _SERIES_OF_EXPM1.replace("{0}", "(-2.0 * {0})") + ")"
_SERIES_OF_SINH = "{0} * " + _polynomial("({0} * {0})", [1 / math.factorial(2 * i + 1) for i in range(8)])
_SERIES_OF_ATANH = "{0} * " + _polynomial("({0} * {0})", [1 / (2 * i + 1) for i in range(18)])
_SERIES_OF_LOG1P = "2.0 * " + _SERIES_OF_ATANH.replace("{0}", "({0} / (2.0 + {0}))")
_HALF_ANGLE = "({0} / (1.0 + tl.sqrt(1.0 + {0} * {0})))"
_QUARTER_ANGLE = _HALF_ANGLE.replace("{0}", _HALF_ANGLE)
_ATAN = f"4.0 * {_QUARTER_ANGLE} * " + _polynomial(
    f"({_QUARTER_ANGLE} * {_QUARTER_ANGLE})", [(-1) ** i / (2 * i + 1) for i in range(12)]
)

OPERATIONS: Mapping[str, Operation] = {
    "copy": Operation(lambda a, out: out.copy_(a) if isinstance(a, Tensor) else out.fill_(a), "{0}"),
    "add": Operation(_binary(torch.add), "({0} + {1})", lambda a, b: a + b),
    "mul": Operation(_binary(torch.mul), "({0} * {1})", lambda a, b: a * b),
    "div": Operation(_div, "({0} / {1})", lambda a, b: a / b),
    "scaled_add": Operation(lambda a, b, c, out: torch.add(a, b, alpha=c, out=out), "({0} + {1} * {2})"),
    "affine": Operation(_affine, "({0} + {1} * {2})"),
    "add_product": Operation(
        lambda a, b, c, d, out: torch.addcmul(a, b, c, value=d, out=out), "({0} + {1} * {2} * {3})"
    ),
    "bell": Operation(lambda a, out: torch.addcmul(a, a, a, value=-1, out=out), "({0} - {0} * {0})"),
    "square": Operation(_unary(torch.square), "({0} * {0})", lambda a: a * a),
    "sqrt": Operation(_unary(torch.sqrt), "tl.sqrt({0})", math.sqrt),
    "pow": Operation(_power, "tl.exp({1} * tl.log({0}))", math.pow),
    "exp": Operation(_exponential(1), "tl.exp({0})", math.exp),
    "exp_of_minus": Operation(_exponential(-1), "tl.exp(-({0}))", lambda a: math.exp(-a)),
    "expm1": Operation(_unary(torch.expm1), f"tl.where(tl.abs({{0}}) < 0.5, {_SERIES_OF_EXPM1}, tl.exp({{0}}) - 1.0)"),
    "log": Operation(_unary(torch.log), "tl.log({0})", math.log),
    "log1p": Operation(
        _unary(torch.log1p),
        f"tl.where(tl.abs({{0}}) < 0.5, {_SERIES_OF_LOG1P}, tl.log(1.0 + {{0}}))",
    ),
    "sin": Operation(_unary(torch.sin), "tl.sin({0})", math.sin),
    "cos": Operation(_unary(torch.cos), "tl.cos({0})", math.cos),
    "sinh": Operation(
        _unary(torch.sinh),
        f"tl.where(tl.abs({{0}}) < 0.5, {_SERIES_OF_SINH}, 0.5 * (tl.exp({{0}}) - tl.exp(-({{0}}))))",
        math.sinh,
    ),
    "cosh": Operation(_unary(torch.cosh), "(0.5 * (tl.exp({0}) + tl.exp(-({0}))))", math.cosh),
    "tanh": Operation(
        _unary(torch.tanh),
        f"tl.where(tl.abs({{0}}) < 0.25, -{_FALL} / (2.0 + {_FALL}), 2.0 * tl.sigmoid(2.0 * {{0}}) - 1.0)",
        math.tanh,
    ),
    "atan": Operation(_unary(torch.atan), _ATAN, math.atan),
    "atanh": Operation(
        _unary(torch.atanh),
        f"tl.where(tl.abs({{0}}) < 0.33, {_SERIES_OF_ATANH}, 0.5 * tl.log((1.0 + {{0}}) / (1.0 - {{0}})))",
        math.atanh,
    ),
    "erf": Operation(_unary(torch.erf), "tl.erf({0})", math.erf),
    "sigmoid": Operation(_unary(torch.sigmoid), "tl.sigmoid({0})", lambda a: 1 / (1 + math.exp(-a))),
    "softplus": Operation(
        _softplus, "(tl.maximum({0}, 0.0) + tl.log(1.0 + tl.exp(-tl.abs({0}))))", _softplus_of_number
    ),
    "abs": Operation(_unary(torch.abs), "tl.abs({0})", abs),
    "sign": Operation(_unary(torch.sign), "(tl.where({0} > 0, 1.0, 0.0) - tl.where({0} < 0, 1.0, 0.0))"),
    "ramp": Operation(lambda u, out: torch.clamp_min(u, 0, out=out), "tl.where({0} <= 0, 0.0, {0})"),
    "clamp": Operation(
        lambda u, bound, out: torch.clamp(u, -bound, bound, out=out),
        "tl.where({0} > {1}, {1}, tl.where({0} < -{1}, -{1}, {0}))",
    ),
    "at_least": Operation(lambda u, bound, out: torch.clamp_min(u, bound, out=out), "tl.where({0} < {1}, {1}, {0})"),
    "at_most": Operation(lambda u, bound, out: torch.clamp_max(u, bound, out=out), "tl.where({0} > {1}, {1}, {0})"),
    "positive": Operation(
        lambda value, u, out: aten.threshold_backward.grad_input(_filled(value, out), u, 0, grad_input=out),
        "tl.where({1} <= 0, 0.0, {0})",
    ),
    "within": Operation(
        lambda value, u, bound, out: aten.hardtanh_backward.grad_input(
            _filled(value, out), u, -bound, bound, grad_input=out
        ),
        "tl.where(tl.abs({1}) >= {2}, 0.0, {0})",
    ),
    "gt": Operation(_binary(torch.gt), "({0} > {1})", is_condition=True),
    "ge": Operation(_binary(torch.ge), "({0} >= {1})", is_condition=True),
    "lt": Operation(_binary(torch.lt), "({0} < {1})", is_condition=True),
    "le": Operation(_binary(torch.le), "({0} <= {1})", is_condition=True),
    "and": Operation(_binary(torch.logical_and), "({0} & {1})", is_condition=True),
    "or": Operation(_binary(torch.logical_or), "({0} | {1})", is_condition=True),
    "not": Operation(_unary(torch.logical_not), "({0} == 0)", is_condition=True),
    "lookup": Operation(lookup, "lookup({0}, {1}, {1}_cells, {1}_per_unit)"),
    "where": Operation(_where, "tl.where({0}, {1}, {2})"),
}
