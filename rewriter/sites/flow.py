"""Walking from an activation up to what feeds it and down to what it feeds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from rewriter.sites.operations import Operations, gates_another_value, keeps_values, reads_no_values


class NoSiteHereError(Exception):
    """An activation is no site; the message is the reason shown to the user."""


@dataclass(frozen=True)
class Feeding:
    """What feeds an activation: the producing node, its kind, and the norm on the way, if any."""

    node: fx.Node
    kind: str
    norm: str | None


def feeding(operations: Operations, activation: fx.Node) -> Feeding:
    """Find the linear, convolution or embedding that feeds an activation, through norms and dropouts.

    Raises:
        NoSiteHereError: something else feeds it, or the value on the way has another user.
    """
    value = activation.args[0] if activation.args else activation.kwargs.get("input")
    gate = inner_gate(operations, activation)
    user, norm = activation, None
    while True:
        if not isinstance(value, fx.Node):
            raise NoSiteHereError("its input is not a traced value")
        if isinstance(gate, fx.Node) and value is gate:
            value = gate.args[0]
            continue
        if any(other not in (user, gate) and not reads_no_values(other) for other in value.users):
            raise NoSiteHereError(f"its input, from {operations.describe(value)}, has another user")
        kind = operations.producer_kind(value)
        if kind is not None:
            return Feeding(value, kind, norm)
        if operations.is_norm(value):
            norm = operations.describe(value)
        elif not operations.is_pass_through(value):
            raise NoSiteHereError(f"it follows {operations.describe(value)}, not a linear, convolution or embedding")
        user, value = value, value.args[0]


def require_hidden(operations: Operations, activation: fx.Node, *, whole_model: bool) -> None:
    """Refuse an activation that gates another value or is the model's output.

    Raises:
        NoSiteHereError: with that reason.
    """
    same_value = [activation]
    for node in same_value:
        if gates_another_value(node):
            raise NoSiteHereError("its output gates another value")
        if whole_model and any(user.op == "output" for user in node.users):
            raise NoSiteHereError("it is the model's output, not a hidden value")
        same_value += [user for user in node.users if operations.is_pass_through(user) or keeps_values(user)]


def second_linear(operations: Operations, activation: fx.Node) -> fx.Node | str:
    """Find the linear that alone consumes an activation; else say why there is none."""
    node = activation
    while True:
        users = [user for user in node.users if not reads_no_values(user)]
        if len(users) != 1:
            return f"its hidden value has {len(users)} users"
        (user,) = users
        if operations.is_linear(user):
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
