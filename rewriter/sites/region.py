"""A region: an elementwise function of one value, and a module that computes it as the model does."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from rewriter.sites.formulas import is_copy
from rewriter.tracing import TracedGraph
from rewriter.tracing.overrides import overwrites
from rewriter.tracing.spellings import Activation


@dataclass(frozen=True, eq=False)
class Region:
    """An elementwise function of one value.

    Attributes:
        activation: which function it is.
        entry: the value that goes in.
        exit: the value that comes out.
        nodes: the calls that compute it, in their order, ``exit`` the last.
        named: whether a function that is known as an activation takes part.
        overwrites: whether a value is overwritten on the way.
        obstacle: why it cannot be replaced, or None.
        glu: whether it is no elementwise function but a GLU, half of whose input goes through a sigmoid.
    """

    activation: Activation
    entry: fx.Node
    exit: fx.Node
    nodes: tuple[fx.Node, ...]
    named: bool
    overwrites: bool = False
    obstacle: str | None = None
    glu: bool = False

    @property
    def inplace(self) -> bool:
        """Whether it is one call that overwrites its input."""
        return len(self.nodes) == 1 and self.activation.inplace


class RegionFunction(nn.Module):
    """Computes a region, call by call.

    Args:
        region: what to compute.
        traced: the graph that it is in.
        constants: the values that it reads, where they are known already.
        exact: run the model's own operations, casts and all, rather than in the dtype of the input.
    """

    def __init__(self, region: Region, traced: TracedGraph, constants: dict[fx.Node, Any], *, exact: bool) -> None:
        super().__init__()
        self._region, self._constants, self._exact = region, constants, exact
        self._called = {
            node: copy.deepcopy(call.module) for node in region.nodes if (call := traced.calls[node]).module is not None
        }
        for module in self._called.values():
            self.add_module(str(len(self._modules)), module)

    @property
    def steps(self) -> int:
        """Number of calls that it takes."""
        return len(self._region.nodes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute it for a tensor, whose values stay as they are."""
        values: dict[fx.Node, Any] = {self._region.entry: x, **self._constants}

        def value(node: fx.Node) -> Any:
            if node not in values:
                values[node] = run(node, fx.map_arg(node.args, value), fx.map_arg(node.kwargs, value))
            return values[node]

        for node in self._region.nodes:
            args, kwargs = fx.map_arg(node.args, value), fx.map_arg(node.kwargs, value)
            first: Any = args[0] if args else None
            if node in self._called:
                inplace = getattr(self._called[node], "inplace", False)
                values[node] = self._called[node](first.clone() if inplace else first)
            elif is_copy(node) and not self._exact:
                values[node] = first
            else:
                args = (first.clone(), *args[1:]) if overwrites(node) and isinstance(first, Tensor) else args
                values[node] = run(node, args, kwargs)
        return values[self._region.exit]  # type: ignore[no-any-return]


def run(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """Carry out the call that a function or method node stands for."""
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)
