"""Activations that no traced graph shows: behind code that cannot be traced, or inside closed torch modules."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from rewriter.sites.foreign_layers import is_quantised
from rewriter.sites.out_of_scope import QUANTISED, RECURRENT, SOFTMAX
from rewriter.sites.products import SOFTMAX_MODULES
from rewriter.sites.site import Miss
from rewriter.tracing import Trace
from rewriter.tracing.spellings import activation_of_module, is_known_activation


def unseen_activations(trace: Trace) -> Iterator[Miss]:
    """Yield a miss for every activation module that no traced graph calls, every recurrent and every softmax module."""
    called = {id(call.module) for traced in trace.graphs for call in traced.calls.values()}
    reasons = {untraced.path: untraced.reason for untraced in trace.untraced}
    for path, module in trace.names.modules.items():
        if is_known_activation(module) and id(module) not in called:
            parent = path.rpartition(".")[0]
            why = reasons.get(parent)
            if why:
                text = f"{parent or 'the model'} could not be traced ({why})"
            else:
                text = "its code did not call it on the example inputs" if trace.recorded else "no traced code calls it"
            yield Miss(path, str(activation_of_module(module)), text)
        elif "ReLU" in type(module).__name__ and is_quantised(module):
            yield Miss(path, "relu", QUANTISED.because(f"{type(module).__name__} holds it"))
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            yield Miss(path, type(module).__name__, RECURRENT.reason)
        elif isinstance(module, (nn.MultiheadAttention, *SOFTMAX_MODULES)):
            yield Miss(path, "softmax", SOFTMAX.reason)
