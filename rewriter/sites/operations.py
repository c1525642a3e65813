"""What a traced node is, in the words of matching: linear, convolution, norm, pass-through, activation."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from rewriter.layouts import Layout, features, layout_of
from rewriter.tracing import TracedGraph
from rewriter.tracing.spellings import MULTIPLICATIONS, Activation, activation_of_function, activation_of_module

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CONVOLUTION_CALLS: frozenset[Any] = frozenset({F.conv1d, F.conv2d, F.conv3d})
_LINEAR_CALLS: frozenset[Any] = frozenset({F.linear, torch.addmm, F.bilinear})
_PRODUCTS: frozenset[Any] = frozenset({operator.matmul, torch.matmul, "matmul"})
_NORM_MARKS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")
_PASS_THROUGH_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
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
    "transpose", "movedim",
)  # fmt: skip
_SHAPE_CALLS: frozenset[Any] = frozenset(
    {operator.getitem, "expand_as", "view_as", "reshape_as", "t", *_SHAPE_METHODS}
    | {getattr(torch, name) for name in _SHAPE_METHODS if hasattr(torch, name)}
)


class Operations:
    """Classifies the nodes of one traced graph."""

    def __init__(self, traced: TracedGraph) -> None:
        self.traced = traced

    def module(self, node: fx.Node) -> nn.Module | None:
        """Give the module that a node calls, or None."""
        call = self.traced.calls.get(node)
        return call.module if call else None

    def activation(self, node: fx.Node) -> Activation | None:
        """Give the activation that a node computes, or None."""
        if node.op == "call_module":
            module = self.module(node)
            return activation_of_module(module) if module is not None else None
        return activation_of_function(node) if node.op in ("call_function", "call_method") else None

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
        weighted = node.target in _PRODUCTS and any(map(_is_trained, node.all_input_nodes))
        if node.target in _LINEAR_CALLS or weighted:
            return "linear"
        if self.layout(node) is not None:
            return "linear"
        return "embedding" if isinstance(module, nn.Embedding) else None

    def carries(self, node: fx.Node) -> bool:
        """Say whether a node adds, joins, pools, scales or reshapes values without making new hidden units."""
        module = self.module(node)
        if module is not None:
            return any(mark in type(module).__name__ for mark in ("Pool", "Upsample", "PixelShuffle", "Flatten"))
        if node.target in MULTIPLICATIONS:
            return sum(isinstance(argument, fx.Node) and not _is_trained(argument) for argument in node.args) == 1
        return node.target in _CARRYING_CALLS or keeps_values(node)

    def is_norm(self, node: fx.Node) -> bool:
        """Say whether a node normalises: torch's functions, or a class named after a norm (libraries have theirs)."""
        module = self.module(node)
        if node.target in _NORM_FUNCTIONS:
            return True
        return module is not None and any(mark in type(module).__name__ for mark in _NORM_MARKS)

    def is_pass_through(self, node: fx.Node) -> bool:
        """Say whether a node is a dropout, an identity or a copy."""
        return isinstance(self.module(node), _PASS_THROUGH_MODULES) or node.target in _PASS_THROUGH_CALLS

    def rescales(self, node: fx.Node) -> bool:
        """Say whether a node only reshapes one value or multiplies it by a constant."""
        scales = node.target in MULTIPLICATIONS | _DIVISIONS and len(node.all_input_nodes) == 1
        return keeps_values(node) or scales

    def describe(self, node: fx.Node) -> str:
        """Name a node for a reason shown to the user."""
        module = self.module(node)
        if module is not None:
            return type(module).__name__
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


def gates_another_value(node: fx.Node) -> bool:
    """Say whether ``node`` is multiplied with another traced value; a trained scale of its own is none."""
    return any(
        user.target in MULTIPLICATIONS
        and all(isinstance(argument, fx.Node) and not _is_trained(argument) for argument in user.args)
        for user in node.users
    )


def _is_trained(node: fx.Node) -> bool:
    moved = keeps_values(node) or node.target is getattr
    return node.op == "get_attr" or (moved and all(map(_is_trained, node.all_input_nodes)))
