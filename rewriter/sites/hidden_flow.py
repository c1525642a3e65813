"""Following the hidden units of an MLP from its activation to both ends, through the layers that share their width."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from rewriter.sites.inlined import Inlined
from rewriter.sites.obstacles import Obstacles
from rewriter.sites.operations import Operations
from rewriter.sites.region import Region
from rewriter.sites.site import InnerRole
from rewriter.sites.squeeze_excite import squeeze_excite


@dataclass(frozen=True)
class InnerCall:
    """One call of a layer between the two ends; see `InnerLayer` for what the fields mean.

    Attributes:
        node: the call, or for a layer whose code was traced into, one value of it.
        layer: the layer.
        role: what it does with the hidden units.
        wide: whether it stands ahead of the activation.
    """

    node: fx.Node
    layer: nn.Module
    role: InnerRole = "channelwise"
    wide: bool = False


@dataclass(frozen=True)
class HiddenEnd:
    """One end of an MLP: the layer there, and the layers on the way to it."""

    node: fx.Node
    inner: tuple[InnerCall, ...]


class HiddenFlow:
    """Follows hidden units in one traced graph.

    Args:
        operations: classifies the nodes.
        obstacles: knows the layers of the whole model.
        channels_dim: the dimension of the hidden units.
    """

    def __init__(self, operations: Operations, obstacles: Obstacles, channels_dim: int) -> None:
        self._operations = operations
        self._obstacles = obstacles
        self._dim = channels_dim

    def up(self, region: Region) -> HiddenEnd | str:
        """Find the layer that makes the hidden units which enter an activation.

        Returns:
            The end; or why there is none, "" where that is a matter of what feeds the activation.
        """
        operations = self._operations
        consumers = set(region.nodes)
        value: fx.Node | None = region.entry
        inner: list[InnerCall] = []
        reader: Inlined | None = None
        while isinstance(value, fx.Node):
            users = [user for user in operations.readers(value) if user not in consumers]
            if any(reader is None or user not in reader for user in users):
                return f"its input, from {operations.describe(value)}, has another user"
            if operations.layout(value) is not None:
                return HiddenEnd(value, tuple(inner))
            if operations.activation(value) is not None:
                return f"its hidden units are those of the {operations.describe(value)} before it"
            consumers, reader = {value}, None
            layer = self._channelwise(operations.module(value))
            if layer is not None:
                inner.append(InnerCall(value, layer, wide=True))
            elif not (operations.is_pass_through(value) or operations.scales_alike(value)):
                reader = self._inlined(value)
                entering = reader.entry(value) if reader is not None else None
                if entering is None:
                    return ""
                inner.append(InnerCall(value, self._owner(value), wide=True))
                value = entering
                continue
            value = next((before for before in value.all_input_nodes if not operations.is_static(before)), None)
        return "its input is not a traced value"

    def down(self, hidden: fx.Node) -> HiddenEnd | str:
        """Find the layer that alone consumes a hidden value; else say why there is none."""
        operations = self._operations
        inner: list[InnerCall] = []
        value = hidden
        while True:
            users = operations.readers(value)
            layer = self._channelwise(operations.module(users[0])) if len(users) == 1 else None
            if layer is not None:
                inner.append(InnerCall(users[0], layer))
                value = users[0]
                continue
            if len(users) == 1 and operations.layout(users[0]) is not None:
                return HiddenEnd(users[0], tuple(inner))
            if len(users) == 1 and self._keeps_units(users[0]):
                value = users[0]
                continue
            following = self._through_code(value, users, inner)
            if following is None:
                return self._why_not_further(users)
            value = following

    def _through_code(self, value: fx.Node, users: list[fx.Node], inner: list[InnerCall]) -> fx.Node | None:
        """Step over a layer whose code was traced into, or over a squeeze-and-excite; None when it is neither."""
        code = self._inlined(users[0]) if users else None
        if code is not None and all(user in code for user in users):
            leaving = code.exit(value)
            if leaving is not None:
                inner.append(InnerCall(leaving, self._owner(users[0])))
            return leaving
        gate = squeeze_excite(self._operations, value)
        if gate is None:
            return None
        roles: list[tuple[fx.Node, InnerRole]] = [(gate.reads, "reads"), (gate.makes, "makes")]
        if gate.reads is gate.makes:
            roles = [(gate.reads, "maps")]
        for node, role in roles:
            module = self._operations.module(node)
            assert module is not None
            inner.append(InnerCall(node, module, role))
        return gate.product

    def _why_not_further(self, users: list[fx.Node]) -> str:
        if len(users) != 1:
            return f"its hidden value has {len(users)} users"
        described = self._operations.describe(users[0])
        groups = getattr(self._operations.module(users[0]), "groups", 1)
        kind = self._operations.producer_kind(users[0])
        if kind is not None and self._operations.module(users[0]) is None:
            return f"its hidden value goes to a {kind} as a function call, which cannot change its shape"
        if groups != 1:
            return f"its hidden value goes to a {described} of {groups} groups, not to a second linear"
        if self._operations.is_norm(users[0]):
            return f"{described} stands between the activation and the second linear"
        return f"its hidden value goes to {described}, not to a second linear"

    def _keeps_units(self, node: fx.Node) -> bool:
        operations = self._operations
        if (
            operations.is_pass_through(node)
            or operations.scales_alike(node)
            or (self._dim == 1 and operations.pools_over_space(node))
        ):
            return True
        module = operations.module(node)
        alone = len(node.all_input_nodes) == 1
        known = operations.regions.activation_of(node) is not None
        return alone and known and not (module and _has_vectors(module))

    def _channelwise(self, module: nn.Module | None) -> nn.Module | None:
        return module if self._obstacles.channels(module, self._dim) is not None else None

    def _inlined(self, node: fx.Node) -> Inlined | None:
        call = self._operations.traced.calls.get(node)
        if call is None or self._channelwise(self._obstacles.modules[call.owner]) is None:
            return None
        return Inlined(self._operations.traced, call.owner)

    def _owner(self, node: fx.Node) -> nn.Module:
        return self._obstacles.modules[self._operations.traced.calls[node].owner]


def _has_vectors(module: nn.Module) -> bool:
    return any(parameter.numel() > 1 for parameter in module.parameters())
