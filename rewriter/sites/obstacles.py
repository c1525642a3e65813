"""What stands in the way of resizing a linear."""

from __future__ import annotations

from collections import defaultdict

import torch.nn.utils.parametrize as parametrize
from torch import Tensor, fx, nn

from rewriter.tracing import Trace
from rewriter.tracing.hooks import has_hooks


class Obstacles:
    """Knows why a layer of one model must not be given another shape.

    Args:
        trace: the traced model.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.calls: dict[int, set[fx.Node]] = defaultdict(set)
        self._read_directly: set[int] = set()
        for traced in trace.graphs:
            for node, call in traced.calls.items():
                if call.module is not None:
                    self.calls[id(call.module)].add(node)
            parameters = dict(trace.names.modules[traced.path].named_parameters(remove_duplicate=False))
            for node in traced.graph.nodes:
                read = parameters.get(str(node.target)) if node.op == "get_attr" else None
                if read is not None and not all(user.target is getattr for user in node.users):
                    self._read_directly.add(id(read))
        self._owners: dict[int, set[int]] = defaultdict(set)
        for module in trace.model.modules():
            for parameter in module.parameters(recurse=False):
                self._owners[id(parameter)].add(id(module))

    def to_resizing(self, linear: nn.Module) -> str | None:
        """Say why a linear cannot change its shape, or None."""
        paths = self._trace.names.paths(linear)
        if parametrize.is_parametrized(linear) or has_hooks(linear):
            return f"{paths[0]} has hooks or parametrizations, which a new weight would lose"
        for name, parameter in linear.named_parameters(recurse=False):
            if len(self._owners[id(parameter)]) > 1:
                return f"{paths[0]}.{name} is tied to another module"
            if id(parameter) in self._read_directly:
                return f"{paths[0]}.{name} is read outside its module"
            if not parameter.is_floating_point() or type(parameter.data) is not Tensor:
                return f"{paths[0]}.{name} is no plain tensor ({type(parameter.data).__name__}, {parameter.dtype})"
        opaque = {untraced.path for untraced in self._trace.untraced}
        held = next((path for path in paths if path.rpartition(".")[0] in opaque), None)
        return f"{held} belongs to code that could not be traced" if held else None
