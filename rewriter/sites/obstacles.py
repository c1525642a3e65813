"""What stands in the way of resizing a linear."""

from __future__ import annotations

from collections import defaultdict

import torch.nn.utils.parametrize as parametrize
from torch import fx, nn

from rewriter.channelwise import channels_of
from rewriter.sites.foreign_layers import foreign, is_plain
from rewriter.sites.operations import Operations
from rewriter.sites.region import Region
from rewriter.tracing import Trace, TracedGraph
from rewriter.tracing.calls import Run
from rewriter.tracing.hooks import would_lose_hooks
from rewriter.tracing.spellings import MULTIPLICATIONS


class Obstacles:
    """Knows why a layer of one model must not be given another shape.

    Args:
        trace: the traced model.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.calls: dict[int, set[fx.Node | Run]] = defaultdict(set)
        self._read_directly: set[int] = set()
        for traced in trace.graphs:
            for node, call in traced.calls.items():
                if call.module is not None:
                    self.calls[id(call.module)].add(node)
            for run in traced.runs:
                self.calls[id(run.module)].add(run)
            parameters = dict(trace.names.modules[traced.path].named_parameters(remove_duplicate=False))
            for node in traced.graph.nodes:
                read = parameters.get(str(node.target)) if node.op == "get_attr" else None
                if read is not None and not all(self._is_its_own(user, node, traced) for user in node.users):
                    self._read_directly.add(id(read))
        self._channels: dict[tuple[int, int], int | None] = {}
        self._known: dict[tuple[object, ...], bool] = {}
        self._owners: dict[int, set[int]] = defaultdict(set)
        for module in trace.model.modules():
            for parameter in module.parameters(recurse=False):
                self._owners[id(parameter)].add(id(module))

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All modules by path."""
        return self._trace.names.modules

    def channels(self, layer: nn.Module | None, channels_dim: int) -> int | None:
        """Give the number of channels of a channelwise layer, or None for any other module; see `channels_of`."""
        key = id(layer), channels_dim
        if key not in self._channels:
            self._channels[key] = channels_of(layer, channels_dim, self._known)
        return self._channels[key]

    def path(self, module: nn.Module) -> str:
        """Give the first path of a module."""
        return self._trace.names.paths(module)[0]

    def to_resizing(self, linear: nn.Module) -> str | None:
        """Say why a linear cannot change its shape, or None."""
        opaque = {untraced.path for untraced in self._trace.untraced}
        paths = self._trace.names.paths(linear)
        held = next((path for path in paths if path.rpartition(".")[0] in opaque), None)
        return self.to_own_parameters(linear) or (f"{held} belongs to code that could not be traced" if held else None)

    def to_own_parameters(self, linear: nn.Module) -> str | None:
        """Say why a module that alone uses its parameters cannot be given others, or None."""
        paths = self._trace.names.paths(linear)
        if id(linear) in self._trace.names.held:
            return f"{paths[0]} is also held in a list or another plain attribute"
        for parent in (path.rpartition(".")[0] for path in paths):
            if why := foreign(parent, self._trace.names.modules[parent]):
                return why
        if parametrize.is_parametrized(linear) or would_lose_hooks(linear):
            return f"{paths[0]} has hooks or parametrizations, which a new weight would lose"
        for name, parameter in linear.named_parameters(recurse=False):
            if len(self._owners[id(parameter)]) > 1:
                return f"{paths[0]}.{name} is tied to another module"
            if id(parameter) in self._read_directly:
                return f"{paths[0]}.{name} is read outside its module"
            if not is_plain(parameter):
                return f"{paths[0]}.{name} is no plain tensor ({type(parameter.data).__name__}, {parameter.dtype})"
        return None

    def _is_its_own(self, user: fx.Node, parameter: fx.Node, traced: TracedGraph) -> bool:
        """Say whether what reads a parameter is the code of its own module, or asks only for such as its dtype."""
        owner = ".".join(filter(None, (traced.path, str(parameter.target).rpartition(".")[0])))
        call = traced.calls.get(user)
        return user.target is getattr or (bool(owner) and call is not None and call.owner == owner)

    def foreign_beside(self, operations: Operations, region: Region) -> str | None:
        """Say that the code of a quantised layer or of an adapter is before or behind an activation, or give None."""
        nodes = [region.entry, *region.exit.users]
        for node in nodes:
            call = operations.traced.calls.get(node)
            if call is not None and (why := foreign(call.owner, self._trace.names.modules[call.owner])):
                return why
            if operations.is_pass_through(node) or node.target in MULTIPLICATIONS:
                nodes += [beyond for beyond in (*node.all_input_nodes, *node.users) if beyond not in nodes]
        return None
