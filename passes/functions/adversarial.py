"""The global adversarial function (GA) of any activation: ``g' = 1/(f'+α)``, ``g(0) = 0``.

Source: the NA paper; the method, section 1.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from passes.evaluation import precision
from passes.evaluation.exact_gradient import Elementwise, with_derivative
from passes.evaluation.table import Table
from passes.functions.catalogue import activation_names, catalogue_entry
from passes.functions.lift import infimum_lift, require_lift
from passes.functions.reciprocal import Reciprocal
from passes.functions.short_slopes import short_slope
from passes.functions.solver import Kind, Slope, by_sympy, tabulated
from passes.functions.torch_slopes import fused_slope
from passes.functions.trained_lift import TrainedAdversarial
from passes.functions.written_activation import activation_slope
from passes.kernels.fused import fused, is_fusible
from passes.kernels.packed import PackedRoutines, in_one_pass
from passes.kernels.traced import TracedFunction, traced
from rewriter.errors import UsageError


class Adversarial(nn.Module):
    """The adversarial function ``g`` of one activation ``f``; make it with :func:`adversarial`.

    Elementwise, any floating dtype; float16 and bfloat16 are computed in float32. The gradient is exactly
    ``1/(f'(x)+α)``, and the backward pass keeps the input alone.

    Attributes:
        name: the activation it is adversarial to.
        alpha: the lift α.
        kind: ``"closed"``, ``"sympy"`` or ``"table"``.
        clamp: the bound put on the inputs, where α = 0 needs one, else None.
    """

    def __init__(self, name: str, kind: Kind, integral: Elementwise, reciprocal: Reciprocal) -> None:
        super().__init__()
        self.name, self.kind = name, kind
        self.alpha, self.clamp = reciprocal.alpha, reciprocal.clamp
        self.integral = integral
        self._reciprocal = reciprocal

    def forward(self, x: Tensor) -> Tensor:
        """Return ``g(x)``, in the shape and dtype of ``x``."""
        if is_fusible(x) and in_one_pass(x) and (function := self._traced()) is not None:
            return fused(x, (), PackedRoutines(function, -1, function.tables), self._by_rule)
        return self._by_rule(x)

    def _traced(self) -> TracedFunction | None:
        tables = (self.integral,) if isinstance(self.integral, Table) else ()
        return traced(self._whole, self._slope, tables)

    def _by_rule(self, x: Tensor) -> Tensor:
        held = (self.integral.coefficients,) if isinstance(self.integral, Table) else ()
        return with_derivative(x, self._value, self._reciprocal, *held)

    def derivative(self, x: Tensor) -> Tensor:
        """Return ``g'(x) = 1/(f'(x)+α)``, and 0 where the input is clamped."""
        return precision.narrow(self._reciprocal(precision.widen(x)), x)

    def _value(self, x: Tensor) -> Tensor:
        integral = self.integral.interpolate if isinstance(self.integral, Table) else self.integral
        return integral(self._held(x))

    def _whole(self, x: Tensor) -> Tensor:
        """Return ``g(x)`` by a table's own call, which is one step of a routine."""
        return self.integral(self._held(x))

    def _held(self, x: Tensor) -> Tensor:
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)

    def _slope(self, x: Tensor) -> Tensor:
        return self._reciprocal(x)

    def extra_repr(self) -> str:
        """Tell the function."""
        bound = "" if self.clamp is None else f", clamp={self.clamp}"
        return f"of={self.name}, alpha={self.alpha}, kind={self.kind}{bound}"


def adversarial(
    name: str, alpha: float = 1.0, *, clamp: float = 4.0, trainable: bool = False, **params: float
) -> Adversarial | TrainedAdversarial:
    """Return the module of the global adversarial function of an activation.

    Args:
        name: a canonical name of the catalogue, or an expression in ``x`` such as ``"x*sigmoid(x)"``.
        alpha: the lift α ≥ 0.
        clamp: inputs are held to ±clamp where α = 0 makes g grow exponentially (sigmoid, tanh, softplus, ELU).
        trainable: train α from ``alpha`` on, above the least that works; only where g has a closed form.
        params: the activation's parameters.

    Raises:
        UsageError: unknown name or parameter, an expression outside the grammar, an α too small for this activation
            (the least that works is named), or a trainable α for a function without a closed form.
    """
    slope = activation_slope(name, params)
    if trainable:
        require_lift(name, slope.expression, alpha)
        return _trained(name, alpha, slope)
    if not (alpha == 0 and slope.needs_no_lift):
        require_lift(name, slope.expression, alpha)
    kind, integral = _solve(name, alpha, slope)
    known = name in activation_names()
    fused = fused_slope(name, catalogue_entry(name).complete(params)) if known else None
    short = short_slope(name) or slope.program
    growing = alpha == 0 and not slope.is_piecewise_constant
    return Adversarial(name, kind, integral, Reciprocal(short, alpha, fused, clamp if growing else None))


def _solve(name: str, alpha: float, slope: Slope) -> tuple[Kind, Elementwise]:
    if slope.closed is not None:
        return "closed", partial(slope.closed, alpha=alpha)
    found = None if name in activation_names() else by_sympy(slope.expression, alpha)
    return ("table", Table(tabulated(slope.expression, alpha))) if found is None else ("sympy", found)


def _trained(name: str, alpha: float, slope: Slope) -> TrainedAdversarial:
    if slope.closed is None:
        raise UsageError(
            expected=f"a closed form of the adversarial function of {name}, to train alpha",
            found="a function that must be integrated numerically, for one fixed alpha",
            remedy="leave alpha fixed, or choose another activation",
        )
    return TrainedAdversarial(name, alpha, infimum_lift(slope.expression), slope.closed, slope.program)
