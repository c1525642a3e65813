"""Turned signs: weights that suit a function better which bends the other way, in a model that computes the same.

``V·f(W x + b)`` is ``(-V)·f̃(-W x - b)`` with ``f̃(x) = -f(-x)``. An adversarial function of a convex activation is
concave: that of ReLU with α = 1 has the slope 1 below zero and 1/2 above. On the way from ReLU to it the bend would
vanish and come back upside down; from ``f̃`` it only weakens. Turning the signs of the layer before the activation and
of the layer behind it is exact in floating point.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from passes.original import original_activation
from rewriter.doors import capture
from rewriter.recipe import Recipe, SiteRecord
from rewriter.sites import Site
from rewriter.sites.site import Hidden
from rewriter.surgery.placed import placed_function

_REACH = 3.0
_POINTS = 601
_GAIN = 0.01  # turning must pay: that of an odd function changes nothing


def turn_signs(model: nn.Module, recipe: Recipe, original: nn.Module, example_inputs: Any = None) -> frozenset[str]:
    """Turn the signs around every site whose function then bends as the original activation does.

    These are plain MLP sites with one branch, whose last layer before the activation and whose second linear have
    parameters of their own, and whose original activation is known by a formula. The function itself stays as it is;
    only weights change, in place.

    Args:
        model: the rewritten model.
        recipe: what it was rewritten by.
        original: the original model, in which the layers of each site are found.
        example_inputs: shapes and dtypes for capturing the original; see `rewriter.capture`.

    Returns:
        The paths of the sites that were turned.

    Raises:
        UsageError: the model is not the one that the recipe made.
    """
    sites = {site.path: site for site in capture(original, example_inputs).sites}
    turned = set()
    for record in recipe.sites:
        weights = _around(model, record, sites.get(record.path))
        if weights and bends_the_other_way(record, placed_function(model, record)):
            with torch.no_grad():
                for weight in weights:
                    weight.neg_()
            turned.add(record.path)
    return frozenset(turned)


def bends_the_other_way(record: SiteRecord, function: nn.Module) -> bool:
    """Say whether ``-function(-x)`` is nearer to the original activation than ``function(x)``, each scaled to fit.

    Of an original activation that is not known by a formula it is said of none.
    """
    original = original_activation(record)
    if original is None:
        return False
    like = next(iter(function.parameters()), torch.empty(0))
    x = torch.linspace(-_REACH, _REACH, _POINTS, device=like.device)
    with torch.no_grad():
        target = original.to(x.device)(x).double()
        straight, turned = function(x).double(), -function(-x).double()
    density = torch.exp(-0.25 * x.double().square())  # the square root of the standard normal's
    return _misfit(turned, target, density) < (1 - _GAIN) * _misfit(straight, target, density)


def _misfit(values: Tensor, target: Tensor, weights: Tensor) -> float:
    columns = torch.stack([values, torch.ones_like(values)], dim=1) * weights[:, None]
    wanted = (target * weights)[:, None]
    fitted = columns @ torch.linalg.lstsq(columns, wanted).solution
    return float((fitted - wanted).square().sum())


def _around(model: nn.Module, record: SiteRecord, site: Site | None) -> list[nn.Parameter]:
    """Return the parameters whose signs turn that of the activation's input and back; none where that cannot be."""
    hidden = site.hidden if site is not None else None
    if not isinstance(hidden, Hidden) or record.placement.branches != 1 or record.kind != "mlp":
        return []
    if any(not inner.wide for inner in hidden.inner) or record.consumer is None:
        return []
    before = model.get_submodule(hidden.inner[0].path if hidden.inner else record.producer)
    behind = model.get_submodule(record.consumer)
    if any(True for layer in (before, behind) for _ in layer.children()) or not list(before.parameters()):
        return []
    return [*before.parameters(), behind.get_parameter("weight")]
