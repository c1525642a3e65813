"""Two layers in the place of one: a low-rank factor, and the packed branches that are made from it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from passes.kernels.aligned_linear import Inner
from rewriter.inner_linear import inner_linear
from rewriter.layouts import layout_of
from rewriter.recipe import LinearRecord

_GEOMETRY = ("in_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode", "in_features")


class LowRank(nn.Module):
    """``U·(V·x) + b``, with V of rank r shared by all branches (the method, section 2).

    Code that asks a layer for its stride, as some does to pad the input, finds that of the old one.

    Args:
        reduce: V, ``D → r``: a linear, or the convolution with the old kernel, without a bias.
        branch: U, ``r → n·H``: a linear, or a 1×1 convolution.
        rank: r.
    """

    def __init__(self, reduce: nn.Module, branch: nn.Module, rank: int) -> None:
        super().__init__()
        self.reduce = reduce
        self.branch = branch
        self.rank = rank

    @property
    def weight(self) -> Tensor:
        """The last factor, for code that asks a layer for the dtype or the device of its weight."""
        return self.branch.get_parameter("weight")

    def forward(self, input: Tensor) -> Tensor:
        """Map D channels to ``n·H``."""
        values: Tensor = self.branch(self.reduce(input))
        return values

    @classmethod
    def of(cls, old: Any, record: LinearRecord) -> LowRank:
        """Make it with the shape of a record, like the layer ``old`` in all else, on the ``meta`` device."""
        layout = layout_of(old)
        assert layout is not None
        assert record.rank is not None
        (fan_in, fan_out), rank = record.after, record.rank
        made: dict[str, Any] = {"device": "meta", "dtype": old.weight.dtype}
        if layout.channels_dim == -1:
            branch = inner_linear(rank, fan_out, inner=Inner(output=True), bias=record.bias, **made)
            return cls(nn.Linear(fan_in, rank, bias=False, **made), branch, rank)._like(old)
        reduce = layout.make(old, fan_in, rank)
        reduce.register_parameter("bias", None)
        kind = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(old, kind))
        return cls(reduce, kind(rank, fan_out, 1, bias=record.bias, **made), rank)._like(old)

    def _like(self, old: nn.Module) -> LowRank:
        vars(self).update({name: vars(old)[name] for name in _GEOMETRY if name in vars(old)})
        return self
