"""What a traced node is, in the words of matching: linear, convolution, norm, pass-through, activation."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from rewriter.layouts import Layout, features, layout_of
from rewriter.sites.foreign_layers import is_quantised
from rewriter.sites.formulas import is_copy, is_elementwise, makes_constants
from rewriter.sites.region import Region
from rewriter.sites.regions import Regions
from rewriter.tracing import TracedGraph
from rewriter.tracing.hooks import has_hooks
from rewriter.tracing.overrides import as_overwritten
from rewriter.tracing.spellings import MULTIPLICATIONS, Activation

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTION_CALLS: frozenset[Any] = frozenset({F.conv1d, F.conv2d, F.conv3d})
_LINEAR_CALLS: frozenset[Any] = frozenset({F.linear, torch.addmm, F.bilinear})
_PRODUCTS: frozenset[Any] = frozenset({operator.matmul, torch.matmul, "matmul"})
_NORM_MARKS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")
_PASS_THROUGH_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_POOL_MODULES = (_MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, nn.Upsample)
_POOL_CALLS: frozenset[Any] = frozenset(
    {F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.interpolate}
)
_NORM_FUNCTIONS: frozenset[Any] = frozenset({F.batch_norm, F.layer_norm, F.group_norm, F.instance_norm, F.rms_norm})
_PASS_THROUGH_CALLS: frozenset[Any] = frozenset({F.dropout, F.dropout2d, torch.dropout, "contiguous"})
_DIVISIONS: frozenset[Any] = frozenset({operator.truediv, torch.div, "div", "div_"})
_CARRYING_CALLS: frozenset[Any] = frozenset(
    {operator.add, operator.iadd, operator.sub, torch.add, torch.sub, torch.cat, torch.concat, torch.stack, torch.mean}
    | {torch.sum, torch.amax, torch.roll, torch.clamp, F.interpolate, F.pad, F.adaptive_avg_pool2d, F.avg_pool2d}
    | {F.max_pool2d, F.adaptive_max_pool2d, F.pixel_shuffle}
    | _DIVISIONS
    | {"add", "add_", "sub", "sub_", "mean", "sum", "amax", "clamp", "roll", "type_as", "float", "to"}
)
_SHAPE_METHODS = (
    "chunk", "split", "unbind", "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "permute",
    "transpose", "movedim", "unfold",
)  # fmt: skip
_SHAPE_CALLS: frozenset[Any] = frozenset(
    {operator.getitem, operator.setitem, as_overwritten, "expand_as", "view_as", "reshape_as", "t", *_SHAPE_METHODS}
    | {getattr(torch, name) for name in _SHAPE_METHODS if hasattr(torch, name)}
)


class Operations:
    """Classifies the nodes of one traced graph.

    Args:
        traced: the graph.
        regions: its elementwise functions.
    """

    def __init__(self, traced: TracedGraph, regions: Regions) -> None:
        self.traced = traced
        self.regions = regions

    def module(self, node: fx.Node) -> nn.Module | None:
        """Give the module that a node calls, or None."""
        call = self.traced.calls.get(node)
        return call.module if call else None

    def region(self, node: fx.Node) -> Region | None:
        """Give the elementwise function whose value a node is, or None."""
        return self.regions.by_exit.get(node)

    def activation(self, node: fx.Node) -> Activation | None:
        """Give the activation whose value a node is, or None."""
        region = self.region(node)
        return region.activation if region is not None and region.named else self.regions.activation_of(node)

    def is_static(self, node: fx.Node) -> bool:
        """Say whether a value is computed from parameters, buffers and constants alone."""
        return self.regions.is_static(node)

    def readers(self, value: fx.Node) -> list[fx.Node]:
        """List the calls that read a value, rather than its shape or dtype."""
        return [user for user in value.users if not self._asks_only(user, value)]

    def _asks_only(self, user: fx.Node, value: fx.Node) -> bool:
        like = user.target == "type_as" and user.args[0] is not value
        return reads_no_values(user) or like or (makes_constants(user) and all(map(is_elementwise, user.users)))

    def is_unknown(self, node: fx.Node) -> bool:
        """Say whether a node is a module whose code could not be followed, so that nobody knows what it does."""
        call = self.traced.calls.get(node)
        followed = call is None or call.path is None or call.path not in self.traced.opaque
        return not followed and self.producer_kind(node) is None

    def layout(self, node: fx.Node) -> Layout | None:
        """Give the layout of the linear map that a node calls, or None for anything else."""
        return layout_of(self.module(node))

    def features(self, node: fx.Node) -> tuple[int, int]:
        """Give the input and output widths of a node that has a layout."""
        module = self.module(node)
        assert module is not None
        return features(module)

    def producer_kind(self, node: fx.Node) -> str | None:
        """Give ``linear``, ``conv`` or ``embedding`` for a node that can feed a site, else None."""
        module = self.module(node)
        if isinstance(module, _CONVOLUTIONS) or node.target in _CONVOLUTION_CALLS:
            return "conv"
        weighted = node.target in _PRODUCTS and any(map(self.is_static, node.all_input_nodes))
        if node.target in _LINEAR_CALLS or weighted:
            return "linear"
        if self.layout(node) is not None:
            return "linear"
        return "embedding" if isinstance(module, nn.Embedding) else None

    def carries(self, node: fx.Node) -> bool:
        """Say whether a node adds, joins, pools, scales or reshapes values without making new hidden units."""
        module = self.module(node)
        if module is not None:
            return any(mark in type(module).__name__ for mark in ("Pool", "Pad", "Upsample", "PixelShuffle", "Flatten"))
        if node.target in MULTIPLICATIONS:
            return sum(isinstance(argument, fx.Node) and not self.is_static(argument) for argument in node.args) == 1
        return node.target in _CARRYING_CALLS or keeps_values(node)

    def is_norm(self, node: fx.Node) -> bool:
        """Say whether a node normalises: torch's functions, or a class named after a norm (libraries have theirs)."""
        module = self.module(node)
        if node.target in _NORM_FUNCTIONS:
            return True
        return module is not None and any(mark in type(module).__name__ for mark in _NORM_MARKS)

    def is_pass_through(self, node: fx.Node) -> bool:
        """Say whether a node is a dropout, an identity, a copy or a multiplication by a number."""
        module = self.module(node)
        known = isinstance(module, _PASS_THROUGH_MODULES) and not has_hooks(module)
        return known or node.target in _PASS_THROUGH_CALLS or is_copy(node) or _scales(node)

    def pools_over_space(self, node: fx.Node) -> bool:
        """Say whether a node is a pool or an interpolation of torch, which treat every channel alike."""
        return isinstance(self.module(node), _POOL_MODULES) or node.target in _POOL_CALLS

    def rescales(self, node: fx.Node) -> bool:
        """Say whether a node only reshapes one value, or scales it by what no input determines."""
        return keeps_values(node) or self.regions.rescales(node)

    def scales_alike(self, node: fx.Node) -> bool:
        """Say whether a node scales all values by one number, which parameters, buffers and constants determine."""
        others = [value for value in node.all_input_nodes if self.is_static(value)]
        return self.regions.rescales(node) and all(self.regions.size_of(value) == 1 for value in others)

    def gates_another_value(self, node: fx.Node, origin: fx.Node) -> bool:
        """Say whether ``node``, which holds the value of ``origin``, is multiplied with another value.

        What is computed from parameters, buffers and constants alone is a scale, and a value that is computed from
        ``origin`` gates it, not the other way.
        """
        return any(
            user.target in MULTIPLICATIONS
            and all(isinstance(argument, fx.Node) and not self.is_static(argument) for argument in user.args)
            and not any(value is not node and is_computed_from(value, origin) for value in user.all_input_nodes)
            for user in node.users
        )

    def describe(self, node: fx.Node) -> str:
        """Name a node for a reason shown to the user."""
        module = self.module(node)
        if module is not None:
            return ("quantised " if is_quantised(module) else "") + type(module).__name__
        if node.op in ("placeholder", "output", "get_attr"):
            return {"placeholder": "an input", "output": "the output", "get_attr": f"{node.target}"}[node.op]
        return str(getattr(node.target, "__name__", node.target))


def reads_no_values(node: fx.Node) -> bool:
    """Say whether a node asks a tensor for its number of dimensions, dtype or device only, as assertions do."""
    asked = node.args[1] if node.target is getattr else node.target
    return node.op in ("call_function", "call_method") and asked in ("ndim", "dim", "dtype", "device", "is_cuda")


def keeps_values(node: fx.Node) -> bool:
    """Say whether a node only moves values to another shape or into a container."""
    if node.op == "call_function" and isinstance(node.target, type):
        return True  # an output class, such as transformers' ModelOutput
    return node.op in ("call_function", "call_method") and node.target in _SHAPE_CALLS


def _scales(node: fx.Node) -> bool:
    if node.target not in MULTIPLICATIONS | _DIVISIONS or len(node.args) != 2:
        return False
    value, factor = node.args
    if node.target in MULTIPLICATIONS and isinstance(factor, fx.Node):
        value, factor = factor, value
    return isinstance(value, fx.Node) and isinstance(factor, int | float)


def is_computed_from(value: fx.Node, origin: fx.Node) -> bool:
    """Say whether the value of ``origin`` enters ``value``."""
    seen, waiting = {value}, [value]
    for node in waiting:
        if node is origin:
            return True
        before = [other for other in node.all_input_nodes if other not in seen and not other < origin]
        seen.update(before)
        waiting += before
    return False
