"""Traces of a whole model: one graph where the code allows, several where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import fx, nn

from rewriter.tracing.calls import Call, Signature
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.spellings import is_known_activation
from rewriter.tracing.torch_layers import without_fast_path
from rewriter.tracing.tracer import LeafRetryTracer, reason
from rewriter.tracing.untouched import untouched


@dataclass(frozen=True)
class Untraced:
    """A module whose own ``forward`` could not be traced, and why."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class TracedGraph:
    """One symbolic trace.

    Attributes:
        path: absolute path of the traced module ("" for the model itself).
        graph: the fx graph, with torch modules, known activations and untraceable modules as leaves.
        calls: who made each call.
        opaque: for each untraceable leaf (absolute path), the traces of its children in registration order.
    """

    path: str
    graph: fx.Graph
    calls: dict[fx.Node, Call]
    opaque: dict[str, tuple[TracedGraph, ...]] = field(default_factory=dict)

    def walk(self) -> Iterator[TracedGraph]:
        """Yield this graph and every graph inside its opaque leaves."""
        yield self
        for inner in self.opaque.values():
            for graph in inner:
                yield from graph.walk()


@dataclass(frozen=True)
class Trace:
    """All traces of a model.

    Attributes:
        model: the model as given; nothing in it was changed.
        names: the names of its modules.
        roots: the outermost traces: one when the model itself could be traced, else its children's, in order.
        untraced: the modules whose code could not be traced.
        signatures: for each module path, the distinct ways in which it was called.
        recorded: the modules whose code could not be traced but was recorded on example inputs.
    """

    model: nn.Module
    names: ModuleNames
    roots: tuple[TracedGraph, ...]
    untraced: tuple[Untraced, ...]
    signatures: dict[str, set[Signature]]
    recorded: tuple[Untraced, ...] = ()

    @property
    def graphs(self) -> tuple[TracedGraph, ...]:
        """Every traced graph, outer ones first."""
        return tuple(graph for root in self.roots for graph in root.walk())


def trace(model: nn.Module) -> Trace:
    """Trace ``model`` symbolically, as deep as its code allows.

    A submodule that cannot be traced becomes a leaf with its reason kept, and its children are traced in turn.
    Optional arguments of a traced ``forward`` keep their defaults; what the code does to its modules is undone.
    """
    if isinstance(model, fx.GraphModule):
        return adopt(model)
    names = ModuleNames(model)
    untraced: dict[str, str] = {}
    signatures: dict[str, set[Signature]] = {}
    with untouched(model), without_fast_path():
        roots = trace_module(names, "", untraced, signatures)
    failures = tuple(untraced_at(names, path, why) for path, why in untraced.items())
    return Trace(model, names, roots, failures, signatures)


def untraced_at(names: ModuleNames, path: str, why: str) -> Untraced:
    """Describe the module at a path as one that could not be traced."""
    return Untraced(path, type(names.modules[path]).__name__, why)


def adopt(module: fx.GraphModule) -> Trace:
    """Take a graph that the user traced as it is; every call in it belongs to the GraphModule itself."""
    names = ModuleNames(module)
    calls: dict[fx.Node, Call] = {}
    for index, node in enumerate(n for n in module.graph.nodes if n.op.startswith("call_")):
        if node.op == "call_module":
            calls[node] = Call("", index, module.get_submodule(str(node.target)), str(node.target))
        else:
            calls[node] = Call("", index)
    return Trace(module, names, (TracedGraph("", module.graph, calls),), (), {})


def trace_module(
    names: ModuleNames,
    path: str,
    untraced: dict[str, str],
    signatures: dict[str, set[Signature]],
    parameters: tuple[str, ...] | None = None,
) -> tuple[TracedGraph, ...]:
    """Trace one module, or its children where its own code cannot be traced.

    Args:
        names: the names of the model's modules.
        path: of the module.
        untraced: receives the modules that could not be traced, and why.
        signatures: receives how every module was called.
        parameters: those of its ``forward`` that receive tensors; None for the required ones.
    """
    tracer = LeafRetryTracer(names, path, parameters)
    try:
        graph = tracer.trace(names.modules[path])
    except Exception as error:  # a user's forward may raise anything when it is given proxies
        untraced[path] = reason(error)
        return trace_children(names, path, untraced, signatures)
    for called, found in tracer.signatures.items():
        signatures.setdefault(called, set()).update(found)
    opened = {str(call.path) for call in tracer.calls.values()} & tracer.untraced.keys()
    opaque: dict[str, tuple[TracedGraph, ...]] = {}
    for leaf in sorted(opened):
        untraced[leaf] = tracer.untraced[leaf]
        opaque[leaf] = trace_children(names, leaf, untraced, signatures)
    return (TracedGraph(path, graph, tracer.calls, opaque),)


def trace_children(
    names: ModuleNames, path: str, untraced: dict[str, str], signatures: dict[str, set[Signature]]
) -> tuple[TracedGraph, ...]:
    """Trace the children of a module that cannot be traced itself, in registration order; see `trace_module`."""
    graphs: list[TracedGraph] = []
    for name, child in names.modules[path].named_children():
        child_path = f"{path}.{name}" if path else name
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            graphs.extend(trace_children(names, child_path, untraced, signatures))
        elif any(True for _ in child.children()) and not is_known_activation(child):
            graphs.extend(trace_module(names, child_path, untraced, signatures))
    return tuple(graphs)
