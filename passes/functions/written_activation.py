"""Activations as they are written: a name of the catalogue or a formula in ``x``; the expression and module of either.

A formula such as ``"x*sigmoid(2*x)"`` is an activation of its own. It is read by :mod:`passes.functions.grammar`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import sympy
import torch
from torch import Tensor, nn

from passes.evaluation.exact_gradient import Formula, with_derivative
from passes.evaluation.symbols import sigmoid, softplus, x
from passes.functions.catalogue import activation_names, catalogue_entry
from passes.functions.grammar import parse_expression, shown
from passes.functions.program import compile_expression
from passes.functions.solver import Slope, slope_of
from passes.kernels.fused import fused, is_fusible
from passes.kernels.packed import PackedRoutines, in_one_pass
from passes.kernels.traced import traced
from rewriter.errors import UsageError

# As far as pre-activations are taken to go.
_FAR = (-1e4, -100.0, 100.0, 1e4)


class FormulaActivation(nn.Module):
    """An activation that is a formula in ``x``.

    Elementwise, any floating dtype; float16 and bfloat16 are computed in float32. The gradient is the formula's
    derivative, at a corner the slope of one side, and the backward pass keeps the input alone.

    Args:
        text: the formula.

    Raises:
        UsageError: a formula outside the grammar or undefined somewhere.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        expression = _formula(text)
        self._value, self._slope = compile_expression(expression, (x,)), slope_of(expression).program

    def forward(self, x: Tensor) -> Tensor:
        """Return the formula's value at ``x``, in its shape and dtype."""
        if is_fusible(x) and in_one_pass(x) and (function := traced(self._value, self._slope)) is not None:
            return fused(x, (), PackedRoutines(function, -1), self._by_rule)
        return self._by_rule(x)

    def _by_rule(self, x: Tensor) -> Tensor:
        return with_derivative(x, self._value, Formula(self._slope))

    def extra_repr(self) -> str:
        """Tell the formula."""
        return self.text


def activation(text: str, **params: float) -> nn.Module:
    """Return the plain module of an activation, torch's own class where there is one.

    Args:
        text: a canonical name of the catalogue, or a formula such as ``"x*sigmoid(2*x)"``.
        params: its parameters; torch's names, but ``saturation`` for what ELU and CELU call alpha. A formula has none.

    Raises:
        UsageError: an unknown name or parameter, or a formula outside the grammar or undefined somewhere.
    """
    if is_name(text):
        entry = catalogue_entry(text)
        return entry.module(**entry.complete(params))
    _require_no_parameters(text, params)
    return FormulaActivation(text)


def activation_expression(text: str, parameters: Mapping[str, float]) -> sympy.Expr:
    """Return an activation's expression in ``x``.

    Args:
        text: a canonical name of the catalogue, or a formula such as ``"log(1+exp(x))"``.
        parameters: the activation's parameters, by name; a formula has none.

    Raises:
        UsageError: an unknown name or parameter, or a formula outside the grammar or undefined somewhere.
    """
    if is_name(text):
        return catalogue_entry(text).at(parameters)
    _require_no_parameters(text, parameters)
    return _formula(text)


def activation_slope(text: str, parameters: Mapping[str, float]) -> Slope:
    """Return an activation's slope.

    Args:
        text: a canonical name of the catalogue, or a formula.
        parameters: the activation's parameters, by name; a formula has none.

    Raises:
        UsageError: what `activation_expression` refuses, or a formula whose slope in float32 is no number far out.
    """
    slope = slope_of(activation_expression(text, parameters))
    if not is_name(text):
        undefined = slope.program(torch.tensor(_FAR, dtype=torch.float32, device="cpu")).isnan()
        if bool(undefined.any()):
            raise UsageError(
                expected=f"a formula with a slope in float32 up to x = ±{_FAR[-1]:g}",
                found=f"none at x = {_FAR[int(undefined.int().argmax())]:g} in {shown(text)}",
                remedy="write it with functions that do not overflow: sigmoid, softplus, tanh",
            )
    return slope


def is_name(text: str) -> bool:
    """Say whether a text is an activation's name, known or not, rather than a formula."""
    return text in activation_names() or (text.isidentifier() and text != x.name)


def _require_no_parameters(text: str, parameters: Mapping[str, float]) -> None:
    if parameters:
        raise UsageError(
            expected=f"no parameters for {text}", found=", ".join(parameters), remedy="write them into the formula"
        )


@lru_cache(maxsize=256)
def _formula(text: str) -> sympy.Expr:
    return _steady(parse_expression(text, (x,)))


def _steady(expression: sympy.Expr) -> sympy.Expr:
    """Write logistic functions whole, which overflow in pieces: ``1/(1+e^u)``, ``e^u/(1+e^u)`` and ``ln(1+e^u)``."""
    steady = expression.replace(_is_part_of(sympy.Pow), lambda power: sigmoid(-_exponent(power.base)) ** -power.exp)
    steady = steady.replace(_is_part_of(sympy.log), lambda log: softplus(_exponent(log.args[0])))
    return steady.replace(lambda part: part.is_Mul, _joined)


def _is_part_of(kind: type[sympy.Basic]) -> Callable[[sympy.Basic], bool]:
    """Return what finds ``(1+e^u)^-n`` or ``ln(1+e^u)``."""

    def finds(part: sympy.Basic) -> bool:
        inverse = kind is sympy.log or (part.is_Pow and part.exp.is_negative)
        return isinstance(part, kind) and inverse and _exponent(part.args[0]) is not None

    return finds


def _exponent(total: sympy.Expr) -> Any:
    """Return u of ``1 + e^u``, or None."""
    one, *others = total.args if total.is_Add else (None,)
    return others[0].args[0] if one == 1 and len(others) == 1 and isinstance(others[0], sympy.exp) else None


def _joined(product: sympy.Mul) -> sympy.Expr:
    """Write ``e^u·σ(-u)ⁿ`` as ``σ(u)·σ(-u)ⁿ⁻¹``."""
    for factor in product.args:
        gate = factor.as_base_exp()[0]
        if isinstance(gate, sigmoid) and sympy.exp(-gate.args[0]) in product.args:
            return product / (gate * sympy.exp(-gate.args[0])) * sigmoid(-gate.args[0])
    return product
