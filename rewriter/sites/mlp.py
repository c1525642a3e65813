"""The MLP around an activation: plain or gated, with layers that may change their shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import fx, nn

from rewriter.sites.flow import NoSiteHereError, feeding, is_gate, second_linear
from rewriter.sites.gates import gated_mlp
from rewriter.sites.obstacles import Obstacles
from rewriter.sites.operations import Operations
from rewriter.sites.site import Hidden


@dataclass(frozen=True)
class NodesOfMLP:
    """The calls of an MLP's layers; see `Hidden` for what each is."""

    expand: fx.Node
    project: fx.Node
    partner: fx.Node | None = None
    half: int | None = None

    def hidden(self, operations: Operations) -> Hidden:
        """Give the layers themselves."""
        return Hidden(
            cast(nn.Module, operations.module(self.expand)),
            cast(nn.Module, operations.module(self.project)),
            operations.module(self.partner) if self.partner is not None else None,
            self.half,
        )

    def calls_of(self, layer: nn.Module, hidden: Hidden) -> tuple[fx.Node, ...]:
        """List the calls of one of the layers of ``hidden`` among these nodes."""
        pairs = ((hidden.expand, self.expand), (hidden.project, self.project), (hidden.partner, self.partner))
        return tuple(node for module, node in pairs if module is layer and node is not None)


def mlp_around(operations: Operations, activation: fx.Node, obstacles: Obstacles, *, gated: bool) -> NodesOfMLP | str:
    """Find the MLP that an activation is the hidden function of; else say why it is none."""
    found = _gated(operations, activation) if gated else _plain(operations, activation)
    if isinstance(found, str):
        return found
    layouts = [operations.layout(node) for node in (found.expand, found.project, found.partner or found.expand)]
    if len({layout.channels_dim for layout in layouts if layout is not None}) != 1:
        return "its layers hold the hidden units in different dimensions"
    hidden = found.hidden(operations)
    if _feeds_a_gate(operations, found.project):
        return "it is inside a gate, such as squeeze-and-excite"
    return next((why for layer in hidden.layers if (why := obstacles.to_resizing(layer)) is not None), found)


def _plain(operations: Operations, activation: fx.Node) -> NodesOfMLP | str:
    try:
        source = feeding(operations, activation, inplace=False)
    except NoSiteHereError as refusal:
        return str(refusal)
    if operations.layout(source.node) is None:
        how = " as a function call" if operations.module(source.node) is None else ""
        return f"a {source.kind} feeds it{how}, which cannot change its shape"
    if source.between is not None:
        return source.between
    second = second_linear(operations, activation)
    return second if isinstance(second, str) else NodesOfMLP(source.node, second)


def _gated(operations: Operations, activation: fx.Node) -> NodesOfMLP | str:
    gate = gated_mlp(operations, activation)
    return gate if isinstance(gate, str) else NodesOfMLP(gate.producer, gate.consumer, gate.partner, gate.half)


def _feeds_a_gate(operations: Operations, node: fx.Node) -> bool:
    if is_gate(operations, node):
        return True
    return any(operations.activation(user) is not None and is_gate(operations, user) for user in node.users)
