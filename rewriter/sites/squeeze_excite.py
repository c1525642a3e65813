"""Squeeze-and-excite: a gate on the channels of a value, computed from their means over space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from rewriter.sites.operations import Operations, keeps_values
from rewriter.tracing.spellings import MULTIPLICATIONS

_MEANS = frozenset({"mean", torch.mean, F.adaptive_avg_pool2d})
_MEAN_MODULES = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


@dataclass(frozen=True)
class SqueezeExcite:
    """The parts of one squeeze-and-excite.

    Attributes:
        reads: the layer that reads the means of all channels.
        makes: the layer that makes the gate of every channel; the same one where there is only one.
        product: the gated value.
    """

    reads: fx.Node
    makes: fx.Node
    product: fx.Node


def squeeze_excite(operations: Operations, value: fx.Node) -> SqueezeExcite | None:
    """Find the squeeze-and-excite that is all that reads ``value``, or None."""
    users = operations.readers(value)
    products = [user for user in users if user.target in MULTIPLICATIONS and len(user.all_input_nodes) == 2]
    means = [user for user in users if user.target in _MEANS or isinstance(operations.module(user), _MEAN_MODULES)]
    if len(users) != 2 or len(products) != 1 or len(means) != 1:
        return None
    layers: list[fx.Node] = []
    node = means[0]
    while node is not products[0]:
        if operations.layout(node) is not None:
            layers.append(node)
        elif not (layers or node is means[0] or operations.is_pass_through(node) or keeps_values(node)):
            return None
        following = operations.readers(node)
        if len(following) != 1 or (len(node.all_input_nodes) != 1 and node is not products[0]):
            return None
        node = following[0]
    if not 1 <= len(layers) <= 2 or not _only_scales_after(operations, layers[-1], products[0]):
        return None
    return SqueezeExcite(layers[0], layers[-1], products[0])


def _only_scales_after(operations: Operations, makes: fx.Node, product: fx.Node) -> bool:
    """Say whether only elementwise functions without parameters stand between the last layer and the product."""
    (node,) = operations.readers(makes)
    while node is not product:
        module = operations.module(node)
        elementwise = operations.activation(node) is not None or operations.is_pass_through(node) or keeps_values(node)
        if not elementwise or (module is not None and any(True for _ in module.parameters())):
            return False
        (node,) = operations.readers(node)
    return True
