"""Walking from an activation up to what feeds it and down to what it feeds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from rewriter.sites.foreign_layers import is_quantised
from rewriter.sites.operations import Operations, keeps_values
from rewriter.sites.out_of_scope import OUTPUT, PARAMETER, PRODUCT, QUANTISED, SCORE, UNFED
from rewriter.sites.products import is_product, is_softmax, weighed_value
from rewriter.sites.region import Region
from rewriter.tracing.overrides import as_overwritten
from rewriter.tracing.spellings import MULTIPLICATIONS


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


def feeding(operations: Operations, region: Region) -> Feeding:
    """Find the linear, convolution or embedding that feeds an activation, nearest first.

    Norms and dropouts, sums, joins, pools and changes of shape lie on the way, and so do products with a mere weight,
    as in squeeze-and-excite and attention; other products of values do not.

    Args:
        operations: classifies the nodes.
        region: the activation.

    Raises:
        NoSiteHereError: nothing of the kind feeds it.
    """
    entering = region.entry
    others = [user for user in operations.readers(entering) if user not in region.nodes]
    between = f"its input, from {operations.describe(entering)}, has another user" if others else None
    blocked: fx.Node | None = None
    seen, waiting = {entering}, [(entering, between)]
    for value, found in waiting:
        kind = operations.producer_kind(value)
        if kind is not None:
            return Feeding(value, kind, found)
        if not operations.is_pass_through(value):
            weighed = weighed_value(operations, value)
            if weighed is None and not operations.is_norm(value) and not operations.carries(value):
                blocked = blocked or value
                continue
            verb = "stands between the first linear and the activation" if operations.is_norm(value) else "feeds it"
            found = found or f"{operations.describe(value)} {verb}"
            if weighed is not None:
                waiting += [(weighed, found)] if weighed not in seen else []
                seen.add(weighed)
                continue
        before = [node for node in _sources(operations, value) if node not in seen]
        seen.update(before)
        waiting += [(node, found) for node in before]
    raise NoSiteHereError(_unfed(operations, blocked or entering))


def _sources(operations: Operations, value: fx.Node) -> list[fx.Node]:
    if keeps_values(value) and not isinstance(value.target, type):
        return value.all_input_nodes[:1]  # the others are sizes
    return [node for node in value.all_input_nodes if not operations.is_static(node)]


def _unfed(operations: Operations, blocked: fx.Node) -> str:
    if operations.activation(blocked) is not None:
        return UNFED.because(operations.describe(blocked))
    module = operations.module(blocked)
    if module is not None and is_quantised(module):
        return QUANTISED.because(type(module).__name__)
    if operations.is_static(blocked):
        return PARAMETER.because(operations.describe(blocked))
    if is_product(blocked):
        return PRODUCT.because(operations.describe(blocked))
    return f"it follows {operations.describe(blocked)}, not a linear, convolution or embedding"


def require_hidden(operations: Operations, region: Region, *, whole_model: bool) -> None:
    """Refuse an activation that is the model's output or an attention score, or whose value is read in unknown ways.

    Raises:
        NoSiteHereError: with that reason.
    """
    activation = region.exit
    later = [user for user in operations.readers(region.entry) if user not in region.nodes]
    overwritten = any(user.target is as_overwritten for user in activation.users)
    if region.inplace and (overwritten or any(activation < user for user in later)):
        found = operations.describe(region.entry)
        raise NoSiteHereError(f"it overwrites its input, from {found}, which is read later")
    if region.inplace and not activation.users:
        raise NoSiteHereError(f"it overwrites a part of {operations.describe(region.entry)}")
    same = _same_value(operations, activation)
    unknown = next((user for node in same for user in node.users if operations.is_unknown(user)), None)
    if unknown is not None:
        raise NoSiteHereError(f"its value is read by {operations.describe(unknown)}, whose code could not be followed")
    if whole_model and any(user.op == "output" for node in _same_value(operations, activation) for user in node.users):
        raise NoSiteHereError(OUTPUT.reason)
    if _enters_softmax(operations, activation):
        raise NoSiteHereError(SCORE.reason)


def is_gate(operations: Operations, activation: fx.Node) -> bool:
    """Say whether an activation, or the same value in another shape, is multiplied with another value."""
    return any(operations.gates_another_value(node, activation) for node in _same_value(operations, activation))


def is_gated(operations: Operations, value: fx.Node) -> bool:
    """Say whether a value, or the same in another shape, is multiplied with activations' outputs only, or scales."""
    same = _same_value(operations, value)
    products = [user for node in same for user in node.users if user.target in MULTIPLICATIONS]
    factors = [factor for product in products for factor in product.all_input_nodes if factor not in same]
    return all(operations.activation(factor) is not None or operations.is_static(factor) for factor in factors)


def _same_value(operations: Operations, activation: fx.Node) -> list[fx.Node]:
    same = [activation]
    for node in same:
        same += [user for user in node.users if operations.is_pass_through(user) or operations.rescales(user)]
    return same


def _enters_softmax(operations: Operations, activation: fx.Node) -> bool:
    seen, waiting = {activation}, [activation]
    for node in waiting:
        for user in node.users:
            if is_softmax(operations, user):
                return True
            same = operations.is_pass_through(user) or operations.carries(user) or operations.rescales(user)
            if same and user not in seen:
                seen.add(user)
                waiting.append(user)
    return False
