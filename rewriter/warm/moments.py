"""Sums over calibration data from which linear maps are regressed: no data is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewriter.warm.units import damped


@dataclass
class Moments:
    """First and second moments of features ``[N, F]`` and targets ``[N, O]``, summed in float64.

    Attributes:
        count: N.
    """

    count: int = 0
    _features: Tensor | float = 0.0
    _targets: Tensor | float = 0.0
    _gram: Tensor | float = 0.0
    _cross: Tensor | float = 0.0

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Take rows in."""
        features, targets = features.float(), targets.float()
        self.count += len(features)
        self._features = self._features + features.double().sum(0)
        self._targets = self._targets + targets.double().sum(0)
        with torch.autocast(features.device.type, enabled=False):  # a Gram matrix in bfloat16 has no use
            self._gram = self._gram + (features.T @ features).double()
            self._cross = self._cross + (features.T @ targets).double()

    @property
    def gram(self) -> Tensor:
        """Centred Gram matrix of the features, ``[F, F]``."""
        means = torch.as_tensor(self._features) / self.count
        return torch.as_tensor(self._gram) - self.count * torch.outer(means, means)

    @property
    def cross(self) -> Tensor:
        """Centred products of features and targets, ``[F, O]``."""
        sums = torch.as_tensor(self._features), torch.as_tensor(self._targets)
        return torch.as_tensor(self._cross) - torch.outer(*sums) / self.count

    def regression(self, *, bias: bool) -> tuple[Tensor, Tensor | None]:
        """Fit targets by ridge regression on the features.

        Args:
            bias: whether a constant may be added.

        Returns:
            The weight ``[O, F]`` and the bias ``[O]`` or None, float64.
        """
        if not bias:
            solved = torch.linalg.solve(damped(torch.as_tensor(self._gram)), torch.as_tensor(self._cross))
            return solved.T, None
        solved = torch.linalg.solve(damped(self.gram), self.cross)
        means = torch.as_tensor(self._features) / self.count, torch.as_tensor(self._targets) / self.count
        return solved.T, means[1] - means[0] @ solved
