"""Addresses: how a recipe names the one call of an activation that it means."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from torch import fx

from rewriter.sites.site import ActivationAddress
from rewriter.tracing import Trace, TracedGraph
from rewriter.tracing.own_forward import NotRewritableError, call_nodes, own_forward
from rewriter.tracing.spellings import activation_of_function, activation_of_module
from rewriter.tracing.torch_layers import activation_attribute


class Addresses:
    """Finds the address of activation calls in one trace.

    Args:
        trace: the traced model.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._callers: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for traced in trace.graphs:
            for call in traced.calls.values():
                if call.path is not None:
                    self._callers[call.path].add((self._canonical(call.owner), call.index))
        self._recorded = {recorded.path: recorded.reason for recorded in trace.recorded}
        self._own_forward = cache(lambda owner: _graph_or_refusal(trace, owner))

    def of(self, traced: TracedGraph, node: fx.Node) -> ActivationAddress:
        """Give the address of an activation call.

        Raises:
            NotRewritableError: neither its module nor the code that calls it can be replaced.
        """
        address = self.named(traced, node)
        if address.module is None:
            self._require_rewritable(address.owner, address.call, node, traced)
        return address

    def named(self, traced: TracedGraph, node: fx.Node) -> ActivationAddress:
        """Give the address that an activation call has if its code can be replaced."""
        call = traced.calls[node]
        owner = self._canonical(call.owner)
        if call.path is not None and call.alone and len(self._callers[call.path]) == 1:
            inside = not call.owner or call.path.startswith(f"{call.owner}.")
            if inside and node.args:  # another module names its argument in its own way
                return ActivationAddress(owner, call.index, call.path)
        attribute = activation_attribute(self._trace.names.modules[owner])
        if call.module is None and attribute is not None:
            return ActivationAddress(owner, call.index, f"{owner}.{attribute}" if owner else attribute)
        return ActivationAddress(owner, call.index, None)

    def shown(self, traced: TracedGraph, node: fx.Node) -> str:
        """Give a path to show for a call that has no address."""
        call = traced.calls[node]
        return (
            call.path if call.path is not None and len(self._callers[call.path]) == 1 else _at(call.owner, call.index)
        )

    def _canonical(self, owner: str) -> str:
        return self._trace.names.paths(self._trace.names.modules[owner])[0]

    def _require_rewritable(self, owner: str, index: int, node: fx.Node, traced: TracedGraph) -> None:
        if (why := self._recorded.get(owner)) is not None:
            what = "more than one call of a module" if traced.calls[node].module is not None else "a function call"
            raise NotRewritableError(f"it is {what} in code that could not be traced: {owner or 'the model'} ({why})")
        graph = self._own_forward(owner)
        if isinstance(graph, str):
            raise NotRewritableError(graph)
        nodes = call_nodes(graph)
        call = traced.calls[node]
        if index < len(nodes):
            own = nodes[index]
            if call.module is None:
                same = own.target == node.target and activation_of_function(own) == activation_of_function(node)
            else:
                same = own.op == "call_module" and activation_of_module(call.module) is not None
            if same:
                return
        raise NotRewritableError(f"the code of {_at(owner, index)} takes another way when it is traced alone")


def _graph_or_refusal(trace: Trace, owner: str) -> fx.Graph | str:
    try:
        return own_forward(trace, owner)
    except NotRewritableError as refusal:
        return str(refusal)


def _at(owner: str, index: int) -> str:
    return f"{owner or '(model)'}:{index}"
