"""Which modules are one operation of a graph, and which are followed into."""

from __future__ import annotations

import torch
from torch import nn

from rewriter.layouts import is_padded_convolution, layout_of
from rewriter.tracing.spellings import is_known_activation
from rewriter.tracing.torch_layers import is_transformer


def is_leaf(module: nn.Module) -> bool:
    """Say whether a module is taken as one operation: torch's own code, known activations, layers with a layout."""
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    if isinstance(module, torch.jit.ScriptModule):
        return any(True for _ in module.parameters())  # a scripted function may be an activation
    if is_known_activation(module) or layout_of(module) is not None:
        return True
    if is_padded_convolution(module):
        return True
    if is_transformer(module):
        return False
    written_in = str(getattr(vars(module).get("forward", type(module).forward), "__module__", ""))
    if written_in == nn.GELU.__module__ and type(module).__module__ != written_in:  # a user's subclass of an activation
        return isinstance(module, nn.MultiheadAttention)
    return written_in.startswith(("torch.nn.", "torch.ao.nn."))
