"""Traces of a whole model: one graph where its code could be followed, several where it could not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import fx, nn

from rewriter.tracing.calls import Call, Run
from rewriter.tracing.names import ModuleNames


@dataclass(frozen=True)
class Untraced:
    """A module whose own ``forward`` could not be followed, and why."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class TracedGraph:
    """One trace.

    Attributes:
        path: absolute path of the traced module ("" for the model itself).
        graph: the fx graph, with torch modules, known activations and modules that could not be followed as leaves.
        calls: who made each call.
        runs: the runs of modules' own code whose calls are in the graph.
        opaque: for each leaf that could not be followed (absolute path), the traces of its children in registration
            order.
    """

    path: str
    graph: fx.Graph
    calls: dict[fx.Node, Call]
    runs: list[Run] = field(default_factory=list)
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
        roots: the outermost traces: one when the model itself could be followed, else its children's, in order.
        untraced: the modules whose code could not be followed.
        recorded: whether the graphs are what ran on example inputs.
    """

    model: nn.Module
    names: ModuleNames
    roots: tuple[TracedGraph, ...]
    untraced: tuple[Untraced, ...]
    recorded: bool = False

    @property
    def graphs(self) -> tuple[TracedGraph, ...]:
        """Every traced graph, outer ones first."""
        return tuple(graph for root in self.roots for graph in root.walk())


def reason(error: BaseException) -> str:
    """Give the first line of an error, short enough for a table."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}"[:160] if text else type(error).__name__
