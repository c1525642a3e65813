"""A global adversarial function whose lift α is trained (NA paper; the method, section 1)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from passes.evaluation import precision
from passes.functions.closed_forms import Scalar
from passes.functions.program import Program


class TrainedAdversarial(nn.Module):
    """``g(x; α)`` with ``α = infimum + e^log_offset``, so that every value the parameter can take is an α that works.

    Elementwise, any floating dtype; float16 and bfloat16 are computed in float32. Autograd differentiates the closed
    form in x and in α.

    Attributes:
        name: the activation it is adversarial to.
        kind: ``"closed"``.
        infimum: what α stays above.
    """

    kind = "closed"

    def __init__(
        self, name: str, alpha: float, infimum: float, integral: Callable[[Tensor, Scalar], Tensor], slope: Program
    ) -> None:
        super().__init__()
        self.name, self.infimum = name, infimum
        self.log_offset = nn.Parameter(torch.tensor(math.log(alpha - infimum)))
        self._integral, self._slope = integral, slope

    @property
    def alpha(self) -> float:
        """The lift's value now."""
        return float(self._lift(self.log_offset).detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``g(x)``, in the shape and dtype of ``x``."""
        wide = precision.widen(x)
        return precision.narrow(self._integral(wide, self._lift(wide)), x)

    def derivative(self, x: Tensor) -> Tensor:
        """Return ``∂g/∂x = 1/(f'(x)+α)``."""
        wide = precision.widen(x)
        return precision.narrow(1 / (self._slope(wide) + self._lift(wide)), x)

    def _lift(self, like: Tensor) -> Tensor:
        return self.infimum + self.log_offset.to(like.dtype).exp()

    def extra_repr(self) -> str:
        """Tell the function."""
        return f"of={self.name}, alpha={self.alpha:g} (trained), kind={self.kind}"
