"""Depth in the data-flow graph: the longest path of operations from the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import networkx as nx
from torch import fx, nn

from rewriter.tracing import Trace, TracedGraph


def depths(trace: Trace) -> dict[fx.Node, int]:
    """Give the depth of every node of every traced graph.

    The children of a module that could not be traced are taken to run one after the other, in registration order,
    between what enters that module and what leaves it; the entries of a ModuleDict are alternatives, such as the
    experts that a router chooses from.
    """
    flow: nx.DiGraph[object] = nx.DiGraph()
    _add_series(flow, trace.names.modules, trace.roots, "model inputs", "model outputs")
    layers = enumerate(nx.topological_generations(flow))
    return {node: depth for depth, layer in layers for node in layer if isinstance(node, fx.Node)}


def _add_series(
    flow: nx.DiGraph[object],
    modules: Mapping[str, nn.Module],
    graphs: tuple[TracedGraph, ...],
    source: object,
    sink: object,
) -> None:
    def step(traced: TracedGraph) -> str:
        parent = traced.path.rpartition(".")[0]
        return parent if isinstance(modules[parent], nn.ModuleDict) else traced.path

    flow.add_edge(source, sink)
    for number, (_, alternatives) in enumerate(groupby(graphs, step)):
        gate = ("after", sink, number)
        for traced in alternatives:
            _add_graph(flow, modules, traced, source, gate)
        source = gate
    flow.add_edge(source, sink)


def _add_graph(
    flow: nx.DiGraph[object], modules: Mapping[str, nn.Module], traced: TracedGraph, source: object, sink: object
) -> None:
    flow.add_edge(source, sink)
    leaving: dict[fx.Node, object] = {}
    for node in traced.graph.nodes:
        for origin in node.all_input_nodes or [source]:
            flow.add_edge(leaving.get(origin, origin), node)
        call = traced.calls.get(node)
        inner = traced.opaque.get(call.path) if call is not None and call.path is not None else None
        if inner:
            leaving[node] = ("leaving", node)
            _add_series(flow, modules, inner, node, leaving[node])
        if not node.users:
            flow.add_edge(leaving.get(node, node), sink)
