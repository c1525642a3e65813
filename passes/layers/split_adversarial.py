"""The layer of SA: a split adversarial function applied to packed branches (NA paper; the method, section 3)."""

from __future__ import annotations

from torch import Tensor, nn

from passes.evaluation import precision
from passes.evaluation.table import Table
from passes.functions.adversarial_expression import adversarial_expression
from passes.functions.decomposition import Decomposition
from passes.kernels.fused import fused, is_fusible
from passes.kernels.packed import PackedRoutines
from passes.layers.packing import unpack


class SplitAdversarial(nn.Module):
    """``A(x₁,…,xₙ)`` on packed branches; every parameter is a trainable adversarial coefficient.

    The backward pass keeps the packed input alone, besides the coefficients.

    Args:
        decomposition: the F that A is derived from.
        dim: the channels' dimension.
        alpha: the lift.
        combine: ``"sum"`` or ``"structure"``.
        clamp: the bound that keeps exponential growth finite.

    Raises:
        UsageError: unknown ``combine``, or an α too small.
    """

    def __init__(
        self, decomposition: Decomposition, *, dim: int, alpha: float = 1.0, combine: str = "sum", clamp: float = 4.0
    ) -> None:
        super().__init__()
        self.decomposition = decomposition
        self.dim, self.alpha = dim, alpha
        self.function = self.decomposition.adversarial(alpha, combine, clamp)

    def forward(self, packed: Tensor) -> Tensor:
        """Map ``n·h`` channels along ``dim`` to ``h``; same dtype (float16 and bfloat16 are computed in float32)."""
        if is_fusible(packed):
            return self._fused(packed)
        result: Tensor = self.function(*unpack(packed, self.decomposition.terms, self.dim))
        return result

    def _fused(self, packed: Tensor) -> Tensor:
        function = self.function
        dtype = precision.widen(packed[:0]).dtype
        expression = adversarial_expression(
            function.members(),
            None if function.structure is None else self.decomposition.expression,
            input_clamp=function.input_clamp,
            term_clamp=function.term_clamp,
        )
        tables = tuple(module for module in function.modules() if isinstance(module, Table))
        routines = PackedRoutines(expression, self.dim, tables)
        return fused(packed, function.coefficients(dtype), routines, self._plain)

    def _plain(self, packed: Tensor, *coefficients: Tensor) -> Tensor:
        branches = [precision.widen(branch) for branch in unpack(packed, self.decomposition.terms, self.dim)]
        return precision.narrow(self.function.value(branches, list(coefficients)), packed)

    def extra_repr(self) -> str:
        """Tell the function."""
        return f"{self.decomposition.name}, dim={self.dim}, alpha={self.alpha}"
