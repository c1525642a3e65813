"""The layer of HD-FGD: a decomposition applied to packed branches (NA paper; the method, section 2)."""

from __future__ import annotations

from torch import Tensor, nn

from passes.evaluation import precision
from passes.functions.decomposition import Decomposition
from passes.kernels.fused import fused, is_fusible
from passes.kernels.packed import PackedRoutines
from passes.kernels.split import split_expression
from passes.layers.packing import unpack


class SplitActivation(nn.Module):
    """``F(x₁,…,xₙ)`` on packed branches.

    The backward pass keeps the packed input alone.

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
        if not is_fusible(packed):
            return self._plain(packed)
        expression = split_expression(self.decomposition.expression, self.clamp)
        return fused(packed, (), PackedRoutines(expression, self.dim), self._plain)

    def _plain(self, packed: Tensor) -> Tensor:
        branches = unpack(precision.widen(packed), self.decomposition.terms, self.dim)
        if self.clamp is not None:
            # After unpacking, so that a compiler writes the packed gradient once.
            branches = [branch.clamp(-self.clamp, self.clamp) for branch in branches]
        return precision.narrow(self.decomposition.program(*branches), packed)

    def extra_repr(self) -> str:
        """Tell the function."""
        bound = "" if self.clamp is None else f", clamp={self.clamp}"
        return f"{self.decomposition.name}: {self.decomposition.expression}, dim={self.dim}{bound}"
