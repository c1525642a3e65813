"""Layers whose code was traced into: the nodes of one run of a module, from the value it takes to the one it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import fx

from rewriter.sites.operations import reads_no_values
from rewriter.tracing import TracedGraph


class Inlined:
    """The nodes that the code of one module made.

    Args:
        traced: the graph they are in.
        path: absolute path of the module.
    """

    def __init__(self, traced: TracedGraph, path: str) -> None:
        self._traced = traced
        self._path = path

    def __contains__(self, node: fx.Node) -> bool:
        if node.op == "get_attr":
            return self._below(".".join(filter(None, (self._traced.path, str(node.target)))))
        call = self._traced.calls.get(node)
        return call is not None and (call.owner == self._path or self._below(call.owner))

    def entry(self, leaving: fx.Node) -> fx.Node | None:
        """Give the one value from outside that ``leaving`` is computed from, or None.

        None too when another value that was computed on the way is read outside.
        """
        nodes, entries = self._spread([leaving], lambda node: node.all_input_nodes)
        closed = all(self._stays(node, nodes) for node in nodes - {leaving})
        return entries.pop() if closed and len(entries) == 1 else None

    def exit(self, entering: fx.Node) -> fx.Node | None:
        """Give the one value computed from ``entering`` that is read outside, or None.

        None too when another value from outside takes part.
        """
        nodes, _ = self._spread([user for user in entering.users if user in self], lambda node: node.users)
        inputs = {value for node in nodes for value in node.all_input_nodes}
        if not all(value is entering or value in self for value in inputs):
            return None
        exits = [node for node in nodes if not self._stays(node, nodes)]
        return exits[0] if len(exits) == 1 else None

    def _spread(
        self, start: list[fx.Node], neighbours: Callable[[fx.Node], Iterable[fx.Node]]
    ) -> tuple[set[fx.Node], set[fx.Node]]:
        nodes, outside = set(start), set[fx.Node]()
        waiting = list(start)
        for node in waiting:
            for other in neighbours(node):
                if other not in self:
                    outside.add(other)
                elif other not in nodes:
                    nodes.add(other)
                    waiting.append(other)
        return nodes, outside

    def _stays(self, node: fx.Node, nodes: set[fx.Node]) -> bool:
        return all(user in nodes or user in self or reads_no_values(user) for user in node.users)

    def _below(self, path: str) -> bool:
        return path.startswith(f"{self._path}.")
