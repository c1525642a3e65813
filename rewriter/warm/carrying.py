"""Carrying weights over: the tensors of one old layer to those of the layer in its place.

Everything here is a pure function of tensors. An axis that follows hidden units is given as the old unit of each new
one; where every branch of a split site gets the same values, the diagonal identity makes the site compute what it did.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """How one axis of a layer follows the hidden units of a site.

    Attributes:
        units: the old unit of each new one, ``[h]``; a unit may come several times.
        branches: how many branches lie along the axis, one after the other.
        half: where the axis packs both factors of a gate, which half of it holds the branches; None for branches alone.
        before: the number of old units.
    """

    units: Tensor
    before: int
    branches: int = 1
    half: int | None = None

    @property
    def index(self) -> Tensor:
        """The old position of each new one along the axis."""
        branches = self.units.repeat(self.branches)
        if self.half is None:
            return branches
        parts = (branches, self.units + self.before) if self.half == 0 else (self.units, branches + self.before)
        return torch.cat(parts)

    @property
    def shares(self) -> Tensor:
        """What each new unit is multiplied by where units are summed: one over how often its old unit comes."""
        return 1 / self.units.bincount(minlength=self.before)[self.units].double()


def carried(old: Tensor, dim: int, axis: Axis | None) -> Tensor:
    """Give the new tensor whose entries along ``dim`` are made from old units; an axis of None changes nothing."""
    return old if axis is None else old.index_select(dim, axis.index.to(old.device))


def summed(old: Tensor, dim: int, axis: Axis | None) -> Tensor:
    """The same for a dimension that is summed over: units that come several times share their weight."""
    if axis is None:
        return old
    shape = [1] * old.ndim
    shape[dim] = -1
    return carried(old, dim, axis) * axis.shares.to(device=old.device, dtype=old.dtype).view(shape)


def factored(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Split a matrix ``[out, in]`` into the two factors ``[out, rank]`` and ``[rank, in]`` whose product is nearest."""
    left, sizes, right = torch.linalg.svd(weight.double(), full_matrices=False)
    roots = sizes[:rank].sqrt()
    return (left[:, :rank] * roots).to(weight.dtype), (roots[:, None] * right[:rank]).to(weight.dtype)
