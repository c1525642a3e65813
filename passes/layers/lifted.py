"""The lifted activation ``f(x) + αx``, the partner of the adversarial function (NA paper; the method, section 1)."""

from __future__ import annotations

from torch import Tensor, nn


class Lifted(nn.Module):
    """``f(x) + αx``, elementwise.

    Args:
        activation: the module of f.
        alpha: the lift α.
    """

    def __init__(self, activation: nn.Module, alpha: float) -> None:
        super().__init__()
        self.activation = activation
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Return ``f(x) + αx``, in the shape and dtype of ``x``."""
        straight = self.alpha * x  # before f, which may work in place
        lifted: Tensor = straight + self.activation(x)
        return lifted

    def extra_repr(self) -> str:
        """Tell the lift."""
        return f"alpha={self.alpha}"
