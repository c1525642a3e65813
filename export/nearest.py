"""For each of many tensors, how close the closest of other tensors comes to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from export.agreement import agreement, numbers

_SAMPLED = 256  # elements of a tensor that are looked at to find candidates
_CANDIDATES = 3  # that are then compared in full


def nearest_errors(references: Sequence[Tensor], others: Sequence[Tensor]) -> list[float]:
    """Return for each reference the least max|Δ|/max|y| of any other with as many elements, infinity where none has.

    Elements are compared in order, whatever the shape, since exporters drop and add axes of length 1. Floats are only
    compared with floats.
    """
    groups: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for index, other in enumerate(others):
        groups[_kind(other)].append(index)
    signatures = {kind: torch.stack([_signature(others[index]) for index in group]) for kind, group in groups.items()}
    return [_nearest(y, others, groups.get(_kind(y), []), signatures.get(_kind(y))) for y in references]


def _nearest(reference: Tensor, others: Sequence[Tensor], group: Sequence[int], signatures: Tensor | None) -> float:
    if signatures is None or not reference.numel():
        return torch.inf
    distances = (signatures - _signature(reference)).abs().amax(1)
    closest = distances.topk(min(_CANDIDATES, len(group)), largest=False).indices.tolist()
    return min(agreement(reference.flatten(), others[group[i]].flatten(), 0.0).max_rel for i in closest)


def _kind(tensor: Tensor) -> tuple[int, bool, bool]:
    return tensor.numel(), tensor.is_floating_point(), tensor.is_complex()


def _signature(tensor: Tensor) -> Tensor:
    flat = numbers(tensor)
    picked = torch.linspace(0, max(len(flat) - 1, 0), min(_SAMPLED, len(flat)), dtype=torch.float64).long()
    return flat[picked].nan_to_num(nan=1e300, posinf=1e200, neginf=-1e200)
