"""The layer of HD-FGD: a decomposition applied to packed branches (NA paper; the method, section 2)."""

from __future__ import annotations

from torch import Tensor, nn

from passes.functions import precision
from passes.functions.decomposition import Decomposition
from passes.layers.packing import unpack


class SplitActivation(nn.Module):
    """``F(x₁,…,xₙ)`` on packed branches.

    Args:
        decomposition: F.
        dim: the channels' dimension.
        clamp: the bound on the inputs of a decomposition that overflows; others are not clamped. None lifts
            the bound: F then overflows where its value does.
    """

    def __init__(self, decomposition: Decomposition, *, dim: int, clamp: float | None = 4.0) -> None:
        super().__init__()
        self.decomposition = decomposition
        self.dim = dim
        self.clamp = clamp if self.decomposition.unbounded else None

    def forward(self, packed: Tensor) -> Tensor:
        """Map ``n·h`` channels along ``dim`` to ``h``; same dtype (float16 and bfloat16 are computed in float32)."""
        wide = precision.widen(packed)
        if self.clamp is not None:
            wide = wide.clamp(-self.clamp, self.clamp)
        return precision.narrow(self.decomposition.program(*unpack(wide, self.decomposition.terms, self.dim)), packed)

    def extra_repr(self) -> str:
        """Tell the function."""
        bound = "" if self.clamp is None else f", clamp={self.clamp}"
        return f"{self.decomposition.name}: {self.decomposition.expression}, dim={self.dim}{bound}"
