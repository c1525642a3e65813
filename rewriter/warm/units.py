"""Which hidden units a rewritten site keeps: chosen from weights alone, or from what the units do on data."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 4
_DAMPING = 1e-4
_MOST_FOR_REGRESSION = 4096  # above it, the cubic cost of a regression on all units is not worth it


def repeated(before: int, after: int) -> Tensor:
    """Give the units of a layer that is at least as wide as before: all of them in order, then over again."""
    units: Tensor = torch.arange(after) % before
    return units


def strongest(incoming: Tensor, outgoing: Tensor, count: int) -> Tensor:
    """Choose units by the product of the norms of their weights, in the order they had.

    Args:
        incoming: what makes each unit, ``[H, …]``.
        outgoing: what each unit goes to, ``[H, …]``.
        count: how many to keep.
    """
    norms = incoming.flatten(1).double().norm(dim=1) * outgoing.flatten(1).double().norm(dim=1)
    kept: Tensor = norms.argsort(descending=True, stable=True)[:count].sort().values.cpu()
    return kept


def fittest(gram: Tensor, cross: Tensor, weights: Tensor, count: int) -> Tensor:
    """Choose the units from which the outputs are regressed best, by leaving out in rounds those that matter least.

    What leaving out one unit costs a ridge regression is its squared coefficient over the diagonal of the inverse Gram
    matrix (the saliency of the Optimal Brain Surgeon, Hassibi and Stork 1993).

    Args:
        gram: centred Gram matrix of the units, float64 ``[H, H]``.
        cross: centred products of units and outputs, float64 ``[H, O]``.
        weights: how much an error of each output matters, ``[O]``.
        count: how many units to keep.

    Returns:
        The kept units in the order they had, int64 ``[count]``.
    """
    kept = torch.arange(len(gram), device=gram.device)
    weights = weights.double()
    if len(gram) > _MOST_FOR_REGRESSION:
        useful = (cross * weights).square().sum(1) / gram.diagonal().clamp_min(1e-12)
        return useful.argsort(descending=True, stable=True)[:count].sort().values.cpu()
    for left in torch.linspace(len(gram), count, _ROUNDS + 1)[1:].long().tolist():
        inverse = torch.linalg.inv(damped(gram[kept][:, kept]))
        costs = ((inverse @ cross[kept]) * weights).square().sum(1) / inverse.diagonal()
        kept = kept[costs.argsort(descending=True, stable=True)[:left]].sort().values
    return kept.cpu()


def damped(gram: Tensor) -> Tensor:
    """Add to the diagonal of a Gram matrix a small share of it, so that it can be inverted."""
    diagonal = gram.diagonal()
    return gram + torch.diag(_DAMPING * diagonal + 1e-12 * diagonal.max() + 1e-30)
