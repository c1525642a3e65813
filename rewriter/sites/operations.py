"""What a traced node is, in the words of matching: linear, convolution, norm, pass-through, activation."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from rewriter.tracing import TracedGraph
from rewriter.tracing.spellings import MULTIPLICATIONS, Activation, activation_of_function, activation_of_module

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORM_MARKS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")
_PASS_THROUGH_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_NORM_FUNCTIONS: frozenset[Any] = frozenset({F.batch_norm, F.layer_norm, F.group_norm, F.instance_norm, F.rms_norm})
_PASS_THROUGH_CALLS: frozenset[Any] = frozenset({F.dropout, F.dropout2d, torch.dropout, "contiguous"})
_SHAPE_METHODS = (
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "permute", "transpose", "movedim",
)  # fmt: skip
_SHAPE_CALLS: frozenset[Any] = frozenset(
    {operator.getitem, "expand_as", "view_as", "t", *_SHAPE_METHODS}
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

    def is_linear(self, node: fx.Node) -> bool:
        """Say whether a node calls an ``nn.Linear`` (a subclass counts if it keeps Linear's forward)."""
        module = self.module(node)
        if not isinstance(module, nn.Linear) or "forward" in vars(module):
            return False
        return type(module).forward is nn.Linear.forward

    def producer_kind(self, node: fx.Node) -> str | None:
        """Give ``linear``, ``conv`` or ``embedding`` for a node that can feed a site, else None."""
        module = self.module(node)
        if self.is_linear(node):
            return "linear"
        if isinstance(module, _CONVOLUTIONS):
            return "conv"
        return "embedding" if isinstance(module, nn.Embedding) else None

    def is_norm(self, node: fx.Node) -> bool:
        """Say whether a node normalises: torch's functions, or a class named after a norm (libraries have theirs)."""
        module = self.module(node)
        if node.target in _NORM_FUNCTIONS:
            return True
        return module is not None and any(mark in type(module).__name__ for mark in _NORM_MARKS)

    def is_pass_through(self, node: fx.Node) -> bool:
        """Say whether a node is a dropout, an identity or a copy."""
        return isinstance(self.module(node), _PASS_THROUGH_MODULES) or node.target in _PASS_THROUGH_CALLS

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
    """Say whether ``node`` is multiplied with another traced value."""
    return any(
        user.target in MULTIPLICATIONS and all(isinstance(argument, fx.Node) for argument in user.args)
        for user in node.users
    )
