"""The MLP around an activation: plain or gated, with layers that may change their shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import fx, nn

from rewriter.layouts import features
from rewriter.sites.flow import Feeding, NoSiteHereError, feeding, is_gate, is_gated
from rewriter.sites.gates import gated_mlp
from rewriter.sites.hidden_flow import HiddenFlow, InnerCall
from rewriter.sites.obstacles import Obstacles
from rewriter.sites.operations import Operations
from rewriter.sites.region import Region
from rewriter.sites.site import Hidden, InnerLayer
from rewriter.tracing.spellings import MULTIPLICATIONS


@dataclass(frozen=True)
class NodesOfMLP:
    """The calls of an MLP's layers; see `Hidden` for what each is."""

    expand: fx.Node
    project: fx.Node
    partner: fx.Node | None = None
    half: int | None = None
    inner: tuple[InnerCall, ...] = ()
    glu: bool = False

    def hidden(self, operations: Operations, path: Callable[[nn.Module], str]) -> Hidden:
        """Give the layers themselves."""
        return Hidden(
            cast(nn.Module, operations.module(self.expand)),
            cast(nn.Module, operations.module(self.project)),
            operations.module(self.partner) if self.partner is not None else None,
            self.half,
            tuple(InnerLayer(call.layer, path(call.layer), call.role, call.wide) for call in self.inner),
            self.glu,
        )

    def calls_of(self, layer: nn.Module, hidden: Hidden) -> tuple[fx.Node, ...]:
        """List the calls of one of the layers of ``hidden`` among these nodes."""
        ends = ((hidden.expand, self.expand), (hidden.project, self.project), (hidden.partner, self.partner))
        pairs = (*ends, *((call.layer, call.node) for call in self.inner))
        return tuple(node for module, node in pairs if module is layer and node is not None)


def mlp_around(operations: Operations, region: Region, obstacles: Obstacles, *, gated: bool) -> NodesOfMLP | str:
    """Find the MLP that an activation is the hidden function of; else say why it is none."""
    try:
        source = feeding(operations, region)
    except NoSiteHereError as refusal:
        return "" if gated else str(refusal)
    flow = HiddenFlow(operations, obstacles, 1 if source.kind == "conv" else -1)
    if region.glu:
        found = _glu(operations, flow, region)
    else:
        found = _gated(operations, flow, region) if gated else _plain(operations, flow, region, source)
    if isinstance(found, str):
        return obstacles.foreign_beside(operations, region) or found
    layouts = [operations.layout(node) for node in (found.expand, found.project, found.partner or found.expand)]
    if len({layout.channels_dim for layout in layouts if layout is not None}) != 1:
        return "its layers hold the hidden units in different dimensions"
    hidden = found.hidden(operations, obstacles.path)
    if not _agree(hidden, obstacles, layouts[0].channels_dim if layouts[0] else -1):
        return "its layers disagree about the number of hidden units"
    if _feeds_a_gate(operations, found.project):
        return "it is inside a gate, such as squeeze-and-excite"
    return next((why for layer in hidden.layers if (why := obstacles.to_resizing(layer)) is not None), found)


def _plain(operations: Operations, flow: HiddenFlow, region: Region, source: Feeding) -> NodesOfMLP | str:
    first = flow.up(region)
    if isinstance(first, str):
        how = " as a function call" if operations.module(source.node) is None else ""
        return first or source.between or f"a {source.kind} feeds it{how}, which cannot change its shape"
    second = flow.down(region.exit)
    if isinstance(second, str):
        return second
    return NodesOfMLP(first.node, second.node, inner=(*first.inner, *second.inner))


def _gated(operations: Operations, flow: HiddenFlow, region: Region) -> NodesOfMLP | str:
    gate = gated_mlp(operations, flow, region)
    if isinstance(gate, str):
        return gate
    return NodesOfMLP(gate.producer, gate.consumer.node, gate.partner, gate.half, gate.consumer.inner)


def _glu(operations: Operations, flow: HiddenFlow, region: Region) -> NodesOfMLP | str:
    """Take a GLU of a linear for what it is: a gated MLP with both factors packed in one layer."""
    dim = getattr(operations.module(region.exit), "dim", region.exit.kwargs.get("dim", (*region.exit.args, -1)[1]))
    if not isinstance(operations.module(region.entry), nn.Linear) or dim != -1:
        return f"{operations.describe(region.entry)} makes its halves"
    if len(operations.readers(region.entry)) > 1:
        return f"its input, from {operations.describe(region.entry)}, has another user"
    consumer = flow.down(region.exit)
    if isinstance(consumer, str):
        return consumer
    return NodesOfMLP(region.entry, consumer.node, half=1, inner=consumer.inner, glu=True)


def _agree(hidden: Hidden, obstacles: Obstacles, channels_dim: int) -> bool:
    """Say whether all layers have the same number of hidden units."""
    units = features(hidden.project)[0]
    ends = {"reads": (0,), "makes": (1,), "maps": (0, 1)}
    return features(hidden.expand)[1] == units * (1 if hidden.half is None else 2) and all(
        all(features(inner.layer)[end] == units for end in ends[inner.role])
        if inner.role != "channelwise"
        else obstacles.channels(inner.layer, channels_dim) == units
        for inner in hidden.inner
    )


def _feeds_a_gate(operations: Operations, node: fx.Node) -> bool:
    if is_gate(operations, node) and not is_gated(operations, node) and not _is_wide(operations, node):
        return True
    return any(operations.activation(user) is not None and is_gate(operations, user) for user in node.users)


def _is_wide(operations: Operations, node: fx.Node) -> bool:
    """Say whether a value is known to be no narrower than what it is multiplied with: then that is its gate."""
    products = [user for user in node.users if user.target in MULTIPLICATIONS]
    others = [value for product in products for value in product.all_input_nodes if value is not node]
    sizes = [math.prod(value.meta["shape"]) if "shape" in value.meta else None for value in (node, *others)]
    known = [size for size in sizes if size is not None]
    return len(known) == len(sizes) and len(known) > 1 and known[0] == max(known)
