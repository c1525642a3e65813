"""Refitting the second layer of a site: a regression of what the original gives on what the new units give."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.layouts import layout_of
from rewriter.warm.moments import Moments
from rewriter.warm.watching import passing, rows

_MOST_FEATURES = 4096


def can_refit(layer: nn.Module) -> bool:
    """Say whether a second layer can be regressed: a linear, or a two-dimensional convolution that is not too large."""
    if layout_of(layer) is None:
        return False
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return True
    size = layer.weight[0].numel()
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and size <= _MOST_FEATURES


def features_of(layer: nn.Module, entered: Tensor, given: Any) -> Tensor:
    """Give what the outputs of a layer are a linear map of, one row for each of its output positions."""
    if not isinstance(layer, nn.Conv2d):
        return rows(entered, -1, given)
    padding = layer.padding
    if isinstance(padding, str):
        each = [d * (k - 1) if padding == "same" else 0 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        entered = F.pad(entered, [part for n in reversed(each) for part in (n // 2, n - n // 2)])
        padding = (0, 0)
    if layer.kernel_size == (1, 1) and padding == (0, 0):
        return rows(entered[..., :: layer.stride[0], :: layer.stride[1]], 1, given)
    geometry: dict[str, Any] = {"dilation": layer.dilation, "padding": padding, "stride": layer.stride}
    return rows(F.unfold(entered, layer.kernel_size, **geometry), 1, given)


def refit(
    rewritten: nn.Module,
    path: str,
    targets: Sequence[Sequence[Tensor]],
    inputs: Sequence[Any],
    context: AbstractContextManager[Any],
) -> None:
    """Regress a second layer on what enters it now, so that its outputs come nearest to the targets.

    Args:
        rewritten: the model, in eval mode, with everything ahead of the layer as it will be.
        path: of the layer; its weight and bias change.
        targets: for each input, and each call of the layer, the outputs of the original's layer as rows ``[N, O]``.
        inputs: calibration inputs.
        context: what the model runs in.
    """
    layer = rewritten.get_submodule(path)
    layout = layout_of(layer)
    assert layout is not None
    moments = Moments()
    with torch.no_grad(), context:
        for given, wanted in zip(inputs, targets, strict=True):
            entered, _ = passing(rewritten, path, given, calls=len(wanted))
            for values, target in zip(entered, wanted, strict=True):
                moments.add(features_of(layer, values, given), target)
        weight, bias = moments.regression(bias=getattr(layer, "bias", None) is not None)
        target = layer.get_parameter("weight")
        if not bool(torch.isfinite(weight).all()):
            return
        target.copy_((weight if layout.units_dim == 0 else weight.T).reshape(target.shape))
        if bias is not None:
            layer.get_parameter("bias").copy_(bias)
