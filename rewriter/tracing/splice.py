"""Splicing: one graph from several, each in the place of the call of the module whose code it is."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch import fx

from rewriter.tracing.calls import Call, bound_arguments
from rewriter.tracing.trace import TracedGraph


def spliced(outer: TracedGraph, graphs: Mapping[int, TracedGraph]) -> TracedGraph:
    """Put graphs in the place of the calls of their modules, in ``outer`` and in one another.

    Args:
        outer: the graph to start from; it is not changed.
        graphs: by the ``id`` of the module whose code they are; the names of their placeholders are parameters of its
            ``forward``.

    Returns:
        A graph in which only modules without a graph in ``graphs`` are called.
    """
    splicer = _Splicer(outer.path, graphs)
    splicer.graph.output(splicer.copy(outer, None))
    return TracedGraph(outer.path, splicer.graph, splicer.calls, splicer.opaque)


class _Splicer:
    def __init__(self, path: str, graphs: Mapping[int, TracedGraph]) -> None:
        self.graph = fx.Graph()
        self.calls: dict[fx.Node, Call] = {}
        self.opaque: dict[str, tuple[TracedGraph, ...]] = {}
        self._prefix = f"{path}." if path else ""
        self._graphs = graphs

    def copy(self, traced: TracedGraph, given: Mapping[str, Any] | None) -> Any:
        """Copy a graph and give its output; ``given`` has the values of its placeholders, None for the outer graph."""
        values: dict[fx.Node, Any] = {}
        output: Any = None
        for node in traced.graph.nodes:
            if node.op == "output":
                output = fx.map_arg(node.args[0], values.__getitem__)
            elif node.op == "placeholder" and given is not None and node.target in given:
                values[node] = given[str(node.target)]
            else:
                values[node] = self._copied(traced, node, values)
        return output

    def _copied(self, traced: TracedGraph, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        call = traced.calls.get(node)
        if node.target is operator.getitem and isinstance(picked := node.args[0], fx.Node):
            whole: Any = values[picked]
            with suppress(LookupError, TypeError):  # the other graph gives another structure
                if isinstance(whole, tuple | list | dict):
                    return whole[node.args[1]]  # type: ignore[index]
        args, kwargs = self._arguments(node, values)
        if call is not None and call.module is not None and id(call.module) in self._graphs:
            return self.copy(self._graphs[id(call.module)], bound_arguments(call.module, args, kwargs))
        target = node.target
        if node.op in ("get_attr", "call_module"):
            absolute = f"{traced.path}.{target}" if traced.path else str(target)
            target = absolute.removeprefix(self._prefix)
        new = self.graph.create_node(node.op, target, args, kwargs)
        new.meta = dict(node.meta)
        if call is not None:
            self.calls[new] = call
            if call.path is not None and call.path in traced.opaque:
                self.opaque[call.path] = traced.opaque[call.path]
        return new

    def _arguments(self, node: fx.Node, values: dict[fx.Node, Any]) -> tuple[Any, Any]:
        def used(value: fx.Node) -> Any:
            return self._value(values[value])

        return fx.map_arg(node.args, used), fx.map_arg(node.kwargs, used)

    def _value(self, value: Any) -> Any:
        """Make one node of a structure of nodes that code uses as a whole."""
        return self.graph.call_function(tuple, (value,)) if isinstance(value, tuple | list | dict) else value
