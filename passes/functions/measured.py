"""The density of measured values: a Gaussian kernel estimate over a histogram.

It is a mixture of Gaussians, so that p and p' are smooth and exact functions of the histogram. The bandwidth is the
normal reference rule for the derivative of a density, since the correction needs p' (Chacón, Duong and Wand 2011).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from passes.functions.density import Density

_MOST_BINS = 256
_BINS_PER_BANDWIDTH = 2
_TAIL = 5e-4
_KERNEL_REACH = 8.0


class Histogram(BaseModel):
    """A histogram of measured values with the bandwidth that smooths it.

    Attributes:
        kind: tells it from other densities in a recipe.
        first: the centre of the first bin.
        step: the width of a bin.
        bandwidth: the kernel's standard deviation.
        counts: the number of values in each bin.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["measured"] = "measured"
    first: float
    step: float
    bandwidth: float
    counts: tuple[int, ...]

    def density(self) -> Density:
        """Return the kernel estimate.

        Raises:
            UsageError: the counts are no histogram: all zero, or negative somewhere.
        """
        counts = torch.tensor(self.counts, dtype=torch.float64, device="cpu")
        weights = counts / (counts.sum() * self.bandwidth * math.sqrt(2 * math.pi))
        centres = self.first + self.step * torch.arange(len(counts), dtype=torch.float64, device="cpu")

        def value(u: Tensor) -> Tensor:
            return torch.exp(-0.5 * self._distances(u, centres).square()) @ weights

        def slope(u: Tensor) -> Tensor:
            distances = self._distances(u, centres)
            return (-distances * torch.exp(-0.5 * distances.square())) @ weights / self.bandwidth

        reach = _KERNEL_REACH * self.bandwidth
        return Density(value, slope, float(centres[0]) - reach, float(centres[-1]) + reach, "measured")

    def _distances(self, u: Tensor, centres: Tensor) -> Tensor:
        return (u[..., None] - centres) / self.bandwidth


def histogram(samples: Tensor) -> Histogram | None:
    """Return the histogram of measured values, or None where it has no width: the values are (nearly) all the same.

    The lowest and the highest 0.05 % of the values are left out, so that a few extreme ones do not coarsen the bins.

    Args:
        samples: finite values, of any shape; at most 2^24 of them.
    """
    values = samples.detach().double().cpu().flatten()
    low = float(values.quantile(_TAIL, interpolation="lower"))
    high = float(values.quantile(1 - _TAIL, interpolation="higher"))
    quartiles = float(values.quantile(0.75)) - float(values.quantile(0.25))
    kept = values[(values >= low) & (values <= high)]
    spread = float(kept.std(correction=0))
    if not spread > 1e-12 * max(abs(low), abs(high)):
        return None
    robust = min(spread, quartiles / 1.349) or spread
    bandwidth = max(robust * (4 / (5 * len(kept))) ** (1 / 7), _BINS_PER_BANDWIDTH * (high - low) / _MOST_BINS)
    bins = math.ceil(_BINS_PER_BANDWIDTH * (high - low) / bandwidth)
    step = (high - low) / bins
    numbers = ((kept - low) / step).long().clamp(max=bins - 1)
    counts = torch.bincount(numbers, minlength=bins)
    return Histogram(first=low + step / 2, step=step, bandwidth=bandwidth, counts=tuple(counts.tolist()))
