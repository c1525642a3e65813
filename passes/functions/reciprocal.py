"""The derivative of an adversarial function: the reciprocal of a lifted slope (the method, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from passes.evaluation.exact_gradient import Elementwise


@dataclass(frozen=True)
class Reciprocal:
    """``1/(s(x)+α)``, elementwise, for float32 or float64.

    Attributes:
        slope: s, by operations that autograd knows.
        alpha: the lift α.
        fused: s in a new tensor, faster.
        clamp: where the inputs are clamped, and the derivative therefore 0 beyond.
    """

    slope: Elementwise
    alpha: float
    fused: Elementwise | None = None
    clamp: float | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the derivative."""
        return self._held(1 / (self.slope(x) + self.alpha), x)

    def times(self, upstream: Tensor, x: Tensor) -> Tensor:
        """Return ``upstream/(s(x)+α)``."""
        lifted = self.slope(x) + self.alpha if self.fused is None else self.fused(x).add_(self.alpha)
        return self._held(upstream / lifted, x)

    def _held(self, value: Tensor, x: Tensor) -> Tensor:
        return value if self.clamp is None else value.where(x.abs() <= self.clamp, 0)
