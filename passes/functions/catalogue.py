"""The catalogue of activations: one canonical name, expression, inverse and module each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sympy
from sympy import Abs, Piecewise, Rational, atanh, erf, exp, log, pi, sqrt, tanh
from torch import nn

from passes.evaluation.symbols import sigmoid, softplus, x
from passes.functions.activations import CRReLU, QuickGELU, SquaredReLU
from rewriter.names import require_known

y = sympy.Symbol("y", real=True)

HARD_SIGMOID = Piecewise((0, x <= -3), (1, x >= 3), (x / 6 + Rational(1, 2), True))
TANH_GELU_SLOPE, TANH_GELU_CUBIC = sqrt(2 / pi), Rational(44715, 10**6)
QUICK_GELU_SLOPE = Rational(1702, 1000)
SELU_SCALE, SELU_SATURATION = (
    Rational("1.0507009873554804934193349852946"),
    Rational("1.6732632423543772848170429916717"),
)


@dataclass(frozen=True)
class Activation:
    """One activation of the catalogue.

    Attributes:
        name: the canonical name.
        expression: the function f, in ``x`` and in a symbol for each parameter.
        module: makes the plain ``nn.Module``; takes the parameters as keywords.
        parameters: each parameter's default.
        inverse: the x at which f is ``y``, for y in the range of f, in ``y`` and the symbols of the parameters (slopes
            and saturation positive). None where f is not one to one on the whole line, be it flat (ReLU, hardtanh) or
            falling (GELU) somewhere, and for tanhshrink, whose inverse is not elementary.
    """

    name: str
    expression: sympy.Expr
    module: Callable[..., nn.Module]
    parameters: Mapping[str, float] = field(default_factory=dict)
    inverse: sympy.Expr | None = None

    @property
    def derivative(self) -> sympy.Expr:
        """``f'``, in ``x`` and the symbols of the parameters; at a corner of f the slope of one side."""
        return sympy.piecewise_fold(self.expression).diff(x)

    def complete(self, given: Mapping[str, float]) -> dict[str, float]:
        """Return the defaults overridden by ``given``.

        Raises:
            UsageError: ``given`` names a parameter the activation does not have.
        """
        for name in given:
            require_known(name, self.parameters, f"parameter of {self.name}")
        return {**self.parameters, **given}

    def at(self, given: Mapping[str, float]) -> sympy.Expr:
        """Return the expression in ``x`` alone, every parameter replaced by its exact value."""
        values = {symbol(name): Rational(repr(float(value))) for name, value in self.complete(given).items()}
        return self.expression.subs(values)


def symbol(name: str) -> sympy.Symbol:
    """Return the SymPy symbol that stands for an activation's parameter."""
    return sympy.Symbol(name, real=True)


_slope, _low, _high, _beta, _epsilon = map(symbol, ("negative_slope", "min_val", "max_val", "beta", "epsilon"))
_saturation, _lambd = symbol("saturation"), symbol("lambd")
_TWO_LINES = Piecewise((x, x > 0), (_slope * x, True))
_TWO_LINES_INVERSE = Piecewise((y, y > 0), (y / _slope, True))

_CATALOGUE = {
    entry.name: entry
    for entry in (
        Activation("identity", x, nn.Identity, inverse=y),
        Activation("sigmoid", sigmoid(x), nn.Sigmoid, inverse=log(y / (1 - y))),
        Activation("tanh", tanh(x), nn.Tanh, inverse=atanh(y)),
        Activation("relu", Piecewise((x, x > 0), (0, True)), nn.ReLU),
        Activation("leaky_relu", _TWO_LINES, nn.LeakyReLU, {"negative_slope": 0.01}, _TWO_LINES_INVERSE),
        Activation(
            "prelu",
            _TWO_LINES,
            lambda negative_slope: nn.PReLU(init=negative_slope),
            {"negative_slope": 0.25},
            _TWO_LINES_INVERSE,
        ),
        Activation("relu6", Piecewise((0, x <= 0), (6, x >= 6), (x, True)), nn.ReLU6),
        Activation(
            "hardtanh",
            Piecewise((_low, x <= _low), (_high, x >= _high), (x, True)),
            nn.Hardtanh,
            {"min_val": -1.0, "max_val": 1.0},
        ),
        Activation("hardsigmoid", HARD_SIGMOID, nn.Hardsigmoid),
        Activation("hardswish", Piecewise((0, x <= -3), (x, x >= 3), (x * (x + 3) / 6, True)), nn.Hardswish),
        Activation(
            "elu",
            Piecewise((x, x > 0), (_saturation * (exp(x) - 1), True)),
            lambda saturation: nn.ELU(alpha=saturation),
            {"saturation": 1.0},
            Piecewise((y, y > 0), (log(1 + y / _saturation), True)),
        ),
        Activation(
            "celu",
            Piecewise((x, x > 0), (_saturation * (exp(x / _saturation) - 1), True)),
            lambda saturation: nn.CELU(alpha=saturation),
            {"saturation": 1.0},
            Piecewise((y, y > 0), (_saturation * log(1 + y / _saturation), True)),
        ),
        Activation(
            "selu",
            Piecewise((SELU_SCALE * x, x > 0), (SELU_SCALE * SELU_SATURATION * (exp(x) - 1), True)),
            nn.SELU,
            inverse=Piecewise((y / SELU_SCALE, y > 0), (log(1 + y / (SELU_SCALE * SELU_SATURATION)), True)),
        ),
        Activation(
            "softplus", softplus(_beta * x) / _beta, nn.Softplus, {"beta": 1.0}, y + log(1 - exp(-_beta * y)) / _beta
        ),
        Activation("gelu", x * (1 + erf(x / sqrt(2))) / 2, nn.GELU),
        Activation(
            "gelu_tanh",
            x * (1 + tanh(TANH_GELU_SLOPE * (x + TANH_GELU_CUBIC * x**3))) / 2,
            lambda: nn.GELU(approximate="tanh"),
        ),
        Activation("quick_gelu", x * sigmoid(QUICK_GELU_SLOPE * x), QuickGELU),
        Activation("silu", x * sigmoid(x), nn.SiLU),
        Activation("mish", x * tanh(softplus(x)), nn.Mish),
        Activation("softsign", x / (1 + Abs(x)), nn.Softsign, inverse=y / (1 - Abs(y))),
        Activation("logsigmoid", -softplus(-x), nn.LogSigmoid, inverse=y - log(1 - exp(y))),
        Activation("tanhshrink", x - tanh(x), nn.Tanhshrink),
        Activation(
            "softshrink",
            Piecewise((x - _lambd, x > _lambd), (x + _lambd, x < -_lambd), (0, True)),
            nn.Softshrink,
            {"lambd": 0.5},
        ),
        Activation("squared_relu", Piecewise((x**2, x > 0), (0, True)), SquaredReLU),
        Activation(
            "crrelu",
            Piecewise((x, x > 0), (0, True)) + _epsilon * x * exp(-(x**2) / 2),
            CRReLU,
            {"epsilon": 0.01},
        ),
    )
}


def activation_names() -> tuple[str, ...]:
    """Return the canonical names, in the catalogue's order."""
    return tuple(_CATALOGUE)


def catalogue_entry(name: str) -> Activation:
    """Return the entry of the activation called ``name``.

    Raises:
        UsageError: no activation has that name (the nearest one is named).
    """
    return _CATALOGUE[require_known(name, _CATALOGUE, "activation")]
