"""EAFO's correction of an activation for the density of its input (EAFO paper; the method, section 5).

For the inverse ``y(x)`` of ``f`` and the density ``p``, the entropy ``H = -∫ p(y)y' ln(p(y)y') dx`` falls fastest
along ``η(x) = -(p'(y)y' + p(y)y''/y')``, and the better activation is the inverse of ``y + s·η`` for a strength
``s > 0``. With ``x = f(u)``, so that ``y = u``, ``y' = 1/f'(u)`` and ``y'' = -f''(u)/f'(u)³``, it is to first order

    ``f(u) - s·κ(u)``,  ``κ(u) = f'(u)·η(f(u)) = p(u)·f''(u)/f'(u) - p'(u)``.

For ReLU and the standard normal density ``κ = u·e^(-u²/2)/√(2π)``: the term of CRReLU, whose ``ε`` is ``-s/√(2π)``. The
paper trains ε from +0.01 and so lets training find the sign; s starts on the side where the entropy falls. As in the
paper, what happens at the corners of f, where the inverse ends, is no part of the variation.
"""

from __future__ import annotations

from torch import Tensor

from passes.functions.catalogue import activation_names
from passes.functions.curvature import relative_curvature
from passes.functions.density import Density, Function
from passes.functions.written_activation import activation_expression
from rewriter.errors import UsageError


def correction(name: str, density: Density, **params: float) -> Function:
    """Return ``κ`` of an activation: elementwise, float64 to float64.

    Args:
        name: a canonical name of the catalogue, or a formula in ``x``.
        density: of the pre-activations.
        params: the activation's parameters.

    Raises:
        UsageError: unknown name or parameter, a formula outside the grammar, or an activation without an inverse.
    """
    curvature = relative_curvature(activation_expression(name, params))
    if isinstance(curvature, str):
        raise UsageError(
            expected="an activation with an inverse",
            found=f"{name}: {curvature}",
            remedy=f"choose one of {', '.join(correctable_names())}",
        )

    def kappa(u: Tensor) -> Tensor:
        return density.value(u) * curvature(u) - density.slope(u)

    return kappa


def is_correctable(name: str, **params: float) -> bool:
    """Say whether an activation has an inverse, flat parts aside.

    Raises:
        UsageError: unknown name or parameter, or a formula outside the grammar.
    """
    return not isinstance(relative_curvature(activation_expression(name, params)), str)


def correctable_names() -> list[str]:
    """List the activations of the catalogue that have an inverse, flat parts aside."""
    return [name for name in activation_names() if is_correctable(name)]
