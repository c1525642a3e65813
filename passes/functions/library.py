"""The library of decompositions, and finding one by name, by activation, or by a user's expression.

An activation is split where it is a product, a quotient or a sum of parts that pass a gradient, so ReLU not as ``x1``
times a step of ``x2``, but as its odd and its even part. ``identity`` alone has no decomposition.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

import sympy
from sympy import Abs, Rational, erf, exp, sqrt, tanh

from passes.evaluation.symbols import sigmoid, softplus, variables, x
from passes.functions.catalogue import (
    HARD_SIGMOID,
    QUICK_GELU_SLOPE,
    TANH_GELU_CUBIC,
    TANH_GELU_SLOPE,
    catalogue_entry,
    symbol,
)
from passes.functions.decomposition import Decomposition, parse_decomposition
from passes.functions.vocabulary import relu
from rewriter.errors import UsageError
from rewriter.names import require_known

_HALF = Rational(1, 2)
_x1, _x2, _x3, _x4 = variables(4)
_beta, _epsilon = symbol("beta"), symbol("epsilon")
_TANH_FORM = "tanh form, which differs from erf GELU by at most 5e-4"
_SIDES = "one variable for each side of 0"
_ENDS = "one variable for each end of the slope"


def _tanh_gate(linear: sympy.Expr, cubed: sympy.Expr) -> sympy.Expr:
    return tanh(TANH_GELU_SLOPE * (linear + TANH_GELU_CUBIC * cubed**3))


def _two_sided(name: str) -> tuple[str, sympy.Expr, str]:
    """Split an activation with f(0) = 0 that has one piece on each side of 0; each piece sees its own side alone."""
    (right, _), (left, _) = catalogue_entry(name).expression.args
    return name, right.subs(x, relu(_x1)) + left.subs(x, -relu(-_x2)), _SIDES


def _ramp(low: sympy.Expr | int, high: sympy.Expr | int) -> sympy.Expr:
    """Split the identity held to an interval: ``(|x1 - low| - |x2 - high| + low + high)/2``, but exact near 0."""
    return (_x1 + _x2) / 2 + relu(low - _x1) - relu(_x2 - high)


# name: (activation on the diagonal, F, note); the symbols of an activation's parameters are replaced on request.
_LIBRARY: dict[str, tuple[str, sympy.Expr, str]] = {
    "tanh/2": ("tanh", sigmoid(2 * _x1) - sigmoid(-2 * _x2), ""),
    "tanh/4": ("tanh", (exp(_x1) - exp(-_x2)) / (exp(_x3) + exp(-_x4)), "the NA paper's default"),
    "sigmoid/2": ("sigmoid", _HALF + _HALF * (sigmoid(_x1) - sigmoid(-_x2)), ""),
    "sigmoid/4": (
        "sigmoid",
        _HALF + _HALF * (exp(_x1 / 2) - exp(-_x2 / 2)) / (exp(_x3 / 2) + exp(-_x4 / 2)),
        "tanh/4 at half its argument",
    ),
    "gelu/2": ("gelu", _x1 * (1 + erf(_x2 / sqrt(2))) / 2, "GEGLU"),
    "gelu/3": ("gelu_tanh", _x1 * (1 + _tanh_gate(_x2, _x3)) / 2, _TANH_FORM),
    "gelu/4": ("gelu_tanh", _x1 / 2 + _x2 * _tanh_gate(_x3, _x4) / 2, f"the NA paper's default; {_TANH_FORM}"),
    "gelu_tanh/2": ("gelu_tanh", _x1 * (1 + _tanh_gate(_x2, _x2)) / 2, "GEGLU with the tanh form"),
    "quick_gelu/2": ("quick_gelu", _x1 * sigmoid(QUICK_GELU_SLOPE * _x2), ""),
    "silu/2": ("silu", _x1 * sigmoid(_x2), "SwiGLU"),
    "mish/2": ("mish", _x1 * tanh(softplus(_x2)), ""),
    "hardswish/2": ("hardswish", _x1 * HARD_SIGMOID.subs(x, _x2), ""),
    "softplus/2": ("softplus", _x1 + softplus(-_beta * _x2) / _beta, ""),
    "logsigmoid/2": ("logsigmoid", _x1 - softplus(_x2), ""),
    "tanhshrink/2": ("tanhshrink", _x1 - tanh(_x2), ""),
    "softsign/2": ("softsign", _x1 / (1 + Abs(_x2)), ""),
    "squared_relu/2": ("squared_relu", _x1 * relu(_x2), "ReGLU"),
    "relu/2": ("relu", (_x1 + Abs(_x2)) / 2, "the odd and the even part"),
    "softshrink/2": ("softshrink", relu(_x1 - symbol("lambd")) - relu(-_x2 - symbol("lambd")), _SIDES),
    "relu6/2": ("relu6", _ramp(0, 6), _ENDS),
    "hardtanh/2": ("hardtanh", _ramp(symbol("min_val"), symbol("max_val")), _ENDS),
    "hardsigmoid/2": ("hardsigmoid", _ramp(-3, 3) / 6 + _HALF, _ENDS),
    "elu/2": _two_sided("elu"),
    "celu/2": _two_sided("celu"),
    "selu/2": _two_sided("selu"),
    "leaky_relu/2": _two_sided("leaky_relu"),
    "prelu/2": _two_sided("prelu"),
    "crrelu/2": ("crrelu", relu(_x1) + _epsilon * _x2 * exp(-(_x2**2) / 2), ""),
    "crrelu/3": ("crrelu", relu(_x1) + _epsilon * _x2 * exp(-(_x3**2) / 2), ""),
}


def decomposition_names() -> tuple[str, ...]:
    """Return the names of the library's decompositions."""
    return tuple(_LIBRARY)


@lru_cache(maxsize=64)
def decomposition(text: str, of: str | None = None, **parameters: float) -> Decomposition:
    """Return a decomposition; its diagonal identity is checked when it is first asked for.

    Args:
        text: a name of the library, such as ``"tanh/4"``, or an expression, such as ``"x1*sigmoid(x2)"``.
        of: what an expression is a decomposition of: a name of the catalogue, or a formula in ``x``.
        parameters: of that activation, where they are not its defaults.

    Raises:
        UsageError: an unknown name (the nearest one is named), an expression that is outside the grammar, undefined
            somewhere, or without the diagonal identity (the worst point is named), or a library's name with an ``of``
            that it does not split.
    """
    if not is_expression(text):
        return _from_library(require_known(text, _LIBRARY, "decomposition"), of, parameters)
    if of is None:
        raise UsageError(
            expected="the activation that the expression decomposes",
            found=f"none for {text!r}",
            remedy="name it (of=… in Python, --activation on the command line)",
        )
    return parse_decomposition(text.strip(), of, parameters)


def decomposition_for(activation: str, terms: int | None = None, **parameters: float) -> Decomposition:
    """Return the library's decomposition of an activation into ``terms`` terms.

    Args:
        activation: a canonical name of the catalogue.
        terms: how many; None for the most that the library has, which is the NA paper's default.
        parameters: the activation's parameters, where they are not its defaults.

    Raises:
        UsageError: the activation has no decomposition, or none with that many terms (those there are, are listed).
    """
    offers = splits_of(activation)
    if not offers:
        raise UsageError(
            expected="an activation that has a decomposition",
            found=repr(activation),
            remedy=f"choose one of {', '.join(sorted({of for of, _, _ in _LIBRARY.values()}))}",
        )
    if terms is not None and terms not in offers:
        raise UsageError(
            expected=f"terms = {' or '.join(map(str, offers))} for {activation}",
            found=f"terms = {terms}",
            remedy="choose one of those",
        )
    return decomposition(offers[max(offers) if terms is None else terms], **parameters)


def is_expression(text: str) -> bool:
    """Return whether a user means an expression in ``x1 … xn`` rather than a name of the library."""
    return re.search(r"\bx\d", text) is not None


def splits_of(activation: str) -> dict[int, str]:
    """Return the library's decompositions of an activation by terms: of it, or named after it."""
    names = [name for name, (of, _, _) in _LIBRARY.items() if activation in (of, name.partition("/")[0])]
    return dict(sorted((int(name.partition("/")[2]), name) for name in names))


def _from_library(name: str, asked: str | None, parameters: dict[str, float]) -> Decomposition:
    if asked is not None and name not in splits_of(asked).values():
        raise UsageError(
            expected=f"a decomposition of {asked}",
            found=f"{name!r}, which is of {_LIBRARY[name][0]}",
            remedy="name another, or leave the activation out",
        )
    of, expression, note = _LIBRARY[name]
    return Decomposition(name, of, replace(catalogue_entry(of), expression=expression).at(parameters), note, parameters)
