"""Tracing: what a model does on example inputs, recorded; where there are none, what its code says."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from rewriter.tracing.recorder import Recorder
from rewriter.tracing.trace import Trace, Untraced, reason
from rewriter.tracing.tracer import symbolic_trace


def trace(model: nn.Module, example_inputs: Any = None) -> Trace:
    """Find out what a model's code does; nothing in the model is changed.

    With example inputs the model is run in eval mode on fake tensors, which have shapes and dtypes but no values, and
    every call that its code makes is recorded. A module whose code does not run without values, such as a mixture of
    experts, becomes a leaf with the reason kept, and its children are traced by themselves. Without example inputs,
    and where the model does not run on them, the code is traced symbolically.

    Args:
        model: any module.
        example_inputs: a tensor, a tuple of arguments or a dict of keyword arguments; only shapes and dtypes are read.
    """
    if example_inputs is None or isinstance(model, fx.GraphModule):
        return symbolic_trace(model)
    opaque: dict[type[nn.Module], str] = {}
    see_operations = unknown_sizes = False
    while True:
        recorder = Recorder(model, opaque, see_operations=see_operations, unknown_sizes=unknown_sizes)
        try:
            recorder.run(example_inputs)
        except Exception as error:  # a user's forward may raise anything
            if isinstance(error, DynamicOutputShapeException) and not unknown_sizes:
                unknown_sizes = True
                continue
            failed = recorder.failed
            if failed is None or failed is model or type(failed) in opaque:
                traced = symbolic_trace(model)
                inside = "".join(f"; {kind.__name__}: {why}" for kind, why in opaque.items())
                why = f"it does not run on the example inputs: {reason(error)}{inside}"
                untraced = Untraced("", type(model).__name__, why[:400])
                return Trace(model, traced.names, traced.roots, (untraced, *traced.untraced))
            opaque[type(failed)] = reason(error)
            continue
        if recorder.missed and not see_operations:
            see_operations = True
            continue
        return recorder.trace()
