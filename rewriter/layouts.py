"""Layouts: the layers that compute ``W·x + b`` over all channels, each with its own way to store W."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from passes.kernels.aligned_linear import Inner
from rewriter.inner_linear import InnerLinear, inner_linear


class Layout(ABC):
    """How one kind of layer stores a linear map.

    Attributes:
        channels_dim: the dimension of the layer's output that holds the units.
        units_dim: the dimension of the weight that holds the units; the inputs are in the other one of the first two.
    """

    channels_dim: int
    units_dim: int = 0

    @abstractmethod
    def fits(self, layer: nn.Module) -> bool:
        """Say whether a layer is of this kind, subclasses with another ``forward`` excluded."""

    @abstractmethod
    def features(self, layer: Any) -> tuple[int, int]:
        """Give the input and output widths."""

    def taps(self, layer: Any) -> int:
        """Give the number of weights between one input channel and one output channel."""
        return 1

    @abstractmethod
    def make(self, layer: Any, fan_in: int, fan_out: int) -> nn.Module:
        """Make a layer of other widths, like ``layer`` in all else, on the ``meta`` device."""


class _Linear(Layout):
    channels_dim = -1

    def fits(self, layer: nn.Module) -> bool:
        return isinstance(layer, nn.Linear) and type(layer).forward in (nn.Linear.forward, InnerLinear.forward)

    def features(self, layer: Any) -> tuple[int, int]:
        return layer.in_features, layer.out_features

    def make(self, layer: Any, fan_in: int, fan_out: int) -> nn.Module:
        # Code outside the rewrite sees the widths that stay.
        inner = Inner(input=fan_in != layer.in_features, output=fan_out != layer.out_features)
        return inner_linear(
            fan_in, fan_out, inner=inner, bias=layer.bias is not None, device="meta", dtype=layer.weight.dtype
        )


class _Convolution(Layout):
    """A dense convolution of any kernel, in which every output channel reads every input channel."""

    channels_dim = 1
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

    def fits(self, layer: nn.Module) -> bool:
        plain = isinstance(layer, self.kinds) and any(type(layer).forward is kind.forward for kind in self.kinds)
        return plain and bool(layer.groups == 1)

    def features(self, layer: Any) -> tuple[int, int]:
        return layer.in_channels, layer.out_channels

    def taps(self, layer: Any) -> int:
        return math.prod(layer.kernel_size)

    def make(self, layer: Any, fan_in: int, fan_out: int) -> nn.Module:
        kind = next(kind for kind in self.kinds if isinstance(layer, kind))
        return kind(
            fan_in,
            fan_out,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            padding_mode=layer.padding_mode,
            bias=layer.bias is not None,
            device="meta",
            dtype=layer.weight.dtype,
        )


class _TransposedLinear(Layout):
    """transformers' Conv1D, whose weight is ``[in, out]``; known by name, so that its library is not imported."""

    channels_dim = -1
    units_dim = 1

    def fits(self, layer: nn.Module) -> bool:
        return f"{type(layer).__module__}.{type(layer).__qualname__}" == "transformers.pytorch_utils.Conv1D"

    def features(self, layer: Any) -> tuple[int, int]:
        return layer.nx, layer.nf

    def make(self, layer: Any, fan_in: int, fan_out: int) -> nn.Module:
        with torch.device("meta"):
            made: nn.Module = type(layer)(fan_out, fan_in)
        return made.to(dtype=layer.weight.dtype)


class _ForeignLinear(Layout):
    """torch_geometric's Linear; known by name, so that its library is not imported."""

    channels_dim = -1

    def fits(self, layer: nn.Module) -> bool:
        name = f"{type(layer).__module__}.{type(layer).__qualname__}"
        return name == "torch_geometric.nn.dense.linear.Linear"

    def features(self, layer: Any) -> tuple[int, int]:
        return layer.in_channels, layer.out_channels

    def make(self, layer: Any, fan_in: int, fan_out: int) -> nn.Module:
        with torch.device("meta"):
            made: nn.Module = type(layer)(fan_in, fan_out, bias=layer.bias is not None)
        return made.to(dtype=layer.weight.dtype)


_PADDED = frozenset(
    {
        "timm.layers.conv2d_same.Conv2dSame",
        "efficientnet_pytorch.utils.Conv2dStaticSamePadding",
        "efficientnet_pytorch.utils.Conv2dDynamicSamePadding",
    }
)


class _PaddedConvolution(_Convolution):
    """Convolutions that pad their input first, as wide as it needs; known by name."""

    def fits(self, layer: nn.Module) -> bool:
        return is_padded_convolution(layer) and bool(layer.groups == 1)

    def make(self, layer: Any, fan_in: int, fan_out: int) -> nn.Module:
        made: nn.Module = copy.copy(layer)
        plain = super().make(layer, fan_in, fan_out)
        for registry in ("_parameters", "_buffers", "_modules"):
            vars(made)[registry] = dict(vars(layer)[registry])
        made._parameters.update(plain._parameters)
        vars(made).update(in_channels=fan_in, out_channels=fan_out)
        return made


_LAYOUTS: tuple[Layout, ...] = (_Linear(), _Convolution(), _TransposedLinear(), _ForeignLinear(), _PaddedConvolution())


def is_padded_convolution(layer: nn.Module) -> bool:
    """Say whether a layer is a convolution, dense or not, that pads its input first."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}" in _PADDED


def layout_of(layer: nn.Module | None) -> Layout | None:
    """Give the layout of a layer that computes ``W·x + b`` over all channels, or None for any other module."""
    if layer is None or "forward" in vars(layer):
        return None
    return next((layout for layout in _LAYOUTS if layout.fits(layer)), None)


def features(layer: nn.Module) -> tuple[int, int]:
    """Give the input and output widths of a layer that has a layout."""
    layout = layout_of(layer)
    assert layout is not None
    return layout.features(layer)


def taps(layer: nn.Module) -> int:
    """Give the kernel size of a layer that has a layout: 1 for a linear."""
    layout = layout_of(layer)
    assert layout is not None
    return layout.taps(layer)
