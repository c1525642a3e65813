"""Walking from an activation up to what feeds it and down to what it feeds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from rewriter.sites.operations import Operations, gates_another_value, reads_no_values


class NoSiteHereError(Exception):
    """An activation is no site; the message is the reason shown to the user."""


@dataclass(frozen=True)
class Feeding:
    """What feeds an activation.

    Attributes:
        node: the call of the producing layer.
        kind: what the layer is: ``linear``, ``conv`` or ``embedding``.
        between: what stands between the layer and the activation that an MLP has not, or None.
    """

    node: fx.Node
    kind: str
    between: str | None


def feeding(operations: Operations, activation: fx.Node, *, inplace: bool) -> Feeding:
    """Find the linear, convolution or embedding that feeds an activation, nearest first.

    Norms and dropouts, sums, joins, pools and changes of shape lie on the way; products of values do not.

    Args:
        operations: classifies the nodes.
        activation: the call of the activation.
        inplace: whether it overwrites its input.

    Raises:
        NoSiteHereError: nothing of the kind feeds it, or it overwrites a value that is read later.
    """
    entering = activation.args[0] if activation.args else activation.kwargs.get("input")
    gate = inner_gate(operations, activation)
    if gate is not None and entering is gate:
        entering = gate.args[0]
    if not isinstance(entering, fx.Node):
        raise NoSiteHereError("its input is not a traced value")
    others = [user for user in entering.users if user not in (activation, gate) and not reads_no_values(user)]
    if inplace and any(activation < user for user in others):
        raise NoSiteHereError(f"it overwrites its input, from {operations.describe(entering)}, which is read later")
    between = f"its input, from {operations.describe(entering)}, has another user" if others else None
    blocked: fx.Node | None = None
    seen, waiting = {entering}, [(entering, between)]
    for value, found in waiting:
        kind = operations.producer_kind(value)
        if kind is not None:
            return Feeding(value, kind, found)
        if not operations.is_pass_through(value):
            if not operations.is_norm(value) and not operations.carries(value):
                blocked = blocked or value
                continue
            verb = "stands between the first linear and the activation" if operations.is_norm(value) else "feeds it"
            found = found or f"{operations.describe(value)} {verb}"
        before = [node for node in value.all_input_nodes if node not in seen]
        seen.update(before)
        waiting += [(node, found) for node in before]
    follows = operations.describe(blocked or entering)
    raise NoSiteHereError(f"it follows {follows}, not a linear, convolution or embedding")


def require_hidden(operations: Operations, activation: fx.Node, *, whole_model: bool) -> None:
    """Refuse an activation that is the model's output.

    Raises:
        NoSiteHereError: with that reason.
    """
    if whole_model and any(user.op == "output" for node in _same_value(operations, activation) for user in node.users):
        raise NoSiteHereError("it is the model's output, not a hidden value")


def is_gate(operations: Operations, activation: fx.Node) -> bool:
    """Say whether an activation, or the same value in another shape, is multiplied with another value."""
    return any(gates_another_value(node) for node in _same_value(operations, activation))


def second_linear(operations: Operations, hidden: fx.Node) -> fx.Node | str:
    """Find the linear map that alone consumes a hidden value; else say why there is none."""
    node = hidden
    while True:
        users = [user for user in node.users if not reads_no_values(user)]
        if len(users) != 1:
            return f"its hidden value has {len(users)} users"
        (user,) = users
        if operations.layout(user) is not None:
            return user
        if operations.is_norm(user):
            return f"{operations.describe(user)} stands between the activation and the second linear"
        if not operations.is_pass_through(user):
            return f"its hidden value goes to {operations.describe(user)}, not to a second linear"
        node = user


def inner_gate(operations: Operations, node: fx.Node) -> fx.Node | None:
    """Give the sigmoid inside an activation written as ``x * sigmoid(x)``, else None."""
    if operations.activation(node) is None or len(node.args) != 2 or node.op == "call_module":
        return None
    arguments = [argument for argument in node.args if isinstance(argument, fx.Node)]
    return next((a for a in arguments if len(arguments) == 2 and list(a.users) == [node]), None)


def is_inner_gate(operations: Operations, node: fx.Node) -> bool:
    """Say whether ``node`` is the sigmoid inside ``x * sigmoid(x)``, which counts as one activation."""
    return any(user.op != "call_module" and inner_gate(operations, user) is node for user in node.users)


def _same_value(operations: Operations, activation: fx.Node) -> list[fx.Node]:
    same = [activation]
    for node in same:
        same += [user for user in node.users if operations.is_pass_through(user) or operations.rescales(user)]
    return same
