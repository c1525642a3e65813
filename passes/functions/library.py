"""The library of decompositions, and finding one by name or by activation."""

from __future__ import annotations

from functools import lru_cache

import sympy
from sympy import Rational, erf, exp, sqrt, tanh

from passes.functions.catalogue import HARD_SIGMOID, QUICK_GELU_SLOPE, TANH_GELU_CUBIC, TANH_GELU_SLOPE
from passes.functions.decomposition import Decomposition
from passes.functions.symbols import sigmoid, softplus, variables, x
from rewriter.errors import UsageError
from rewriter.names import require_known

_HALF = Rational(1, 2)
_x1, _x2, _x3, _x4 = variables(4)
_TANH_FORM = "tanh form, which differs from erf GELU by at most 5e-4"


def _tanh_gate(linear: sympy.Expr, cubed: sympy.Expr) -> sympy.Expr:
    return tanh(TANH_GELU_SLOPE * (linear + TANH_GELU_CUBIC * cubed**3))


# name: (activation on the diagonal, F, note)
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
}

# What each activation may be split into: by terms, the name.
_OFFERS: dict[str, dict[int, str]] = {
    "tanh": {2: "tanh/2", 4: "tanh/4"},
    "sigmoid": {2: "sigmoid/2", 4: "sigmoid/4"},
    "gelu": {2: "gelu/2", 3: "gelu/3", 4: "gelu/4"},
    "gelu_tanh": {2: "gelu_tanh/2", 3: "gelu/3", 4: "gelu/4"},
    "quick_gelu": {2: "quick_gelu/2"},
    "silu": {2: "silu/2"},
    "mish": {2: "mish/2"},
    "hardswish": {2: "hardswish/2"},
}


def decomposition_names() -> tuple[str, ...]:
    """Return the names of the library's decompositions."""
    return tuple(_LIBRARY)


@lru_cache(maxsize=64)
def decomposition(name: str) -> Decomposition:
    """Return a decomposition of the library; its diagonal identity is checked when it is first asked for.

    Raises:
        UsageError: no decomposition has that name (the nearest one is named).
    """
    of, expression, note = _LIBRARY[require_known(name, _LIBRARY, "decomposition")]
    return Decomposition(name, of, expression, note)


def decomposition_for(activation: str, terms: int | None = None) -> Decomposition:
    """Return the decomposition of an activation into ``terms`` terms.

    Args:
        activation: a canonical name of the catalogue.
        terms: how many; None for the most that the library has, which is the NA paper's default.

    Raises:
        UsageError: the activation has no decomposition, or none with that many terms (those there are, are listed).
    """
    offers = _OFFERS.get(activation)
    if offers is None:
        raise UsageError(
            expected="an activation that has a decomposition",
            found=repr(activation),
            remedy=f"choose one of {', '.join(sorted(_OFFERS))}",
        )
    if terms is not None and terms not in offers:
        raise UsageError(
            expected=f"terms = {' or '.join(map(str, offers))} for {activation}",
            found=f"terms = {terms}",
            remedy="choose one of those",
        )
    return decomposition(offers[max(offers) if terms is None else terms])
