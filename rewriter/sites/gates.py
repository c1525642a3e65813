"""Gated MLPs: ``V·(act(W₁x) ⊙ (W₂x))``, with two layers or with both halves packed in one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx, nn

from rewriter.sites.hidden_flow import HiddenEnd, HiddenFlow
from rewriter.sites.operations import Operations
from rewriter.sites.region import Region
from rewriter.tracing.spellings import MULTIPLICATIONS

_CHUNKS = frozenset({torch.chunk, "chunk"})


@dataclass(frozen=True)
class Gate:
    """The parts of a gated MLP.

    Attributes:
        producer: the layer whose output is activated; for packed halves, the one layer of both.
        partner: the layer of the other factor; None for packed halves.
        half: which half of the packed output is activated (0 or 1); None for two layers.
        consumer: the layer behind the product, with the layers on the way to it.
    """

    producer: fx.Node
    partner: fx.Node | None
    half: int | None
    consumer: HiddenEnd


def gated_mlp(operations: Operations, flow: HiddenFlow, region: Region) -> Gate | str:
    """Find the gated MLP that an activation is the gate of; else say why it is none ("" when it is far from one)."""
    product, other = _product(operations, region.exit)
    if product is None or other is None:
        return ""
    consumer = flow.down(product)
    if isinstance(consumer, str):
        return ""
    gate, up = _through(operations, region.entry), _through(operations, other)
    if operations.layout(gate) is not None and operations.layout(up) is not None and gate is not up:
        if operations.features(gate) != operations.features(up):
            return "its two layers have different shapes"
        return Gate(gate, up, None, consumer)
    return _packed(operations, gate, up, consumer)


def _product(operations: Operations, activation: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    node = activation
    while True:
        users = operations.readers(node)
        if len(users) != 1:
            return None, None
        (user,) = users
        if operations.is_pass_through(user):
            node = user
            continue
        if user.target not in MULTIPLICATIONS or len(user.args) != 2:
            return None, None
        others = [argument for argument in user.args if argument is not node]
        return (user, others[0]) if len(others) == 1 and isinstance(others[0], fx.Node) else (None, None)


def _through(operations: Operations, node: fx.Node) -> fx.Node:
    while operations.is_pass_through(node) and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def _packed(operations: Operations, gate: fx.Node, up: fx.Node, consumer: HiddenEnd) -> Gate | str:
    cut, half = _piece(gate)
    same, other = _piece(up)
    if cut is None or cut is not same or {half, other} != {0, 1}:
        return ""
    source = cut.args[0]
    if not isinstance(source, fx.Node) or not isinstance(operations.module(source), nn.Linear):
        return ""
    dim = cut.kwargs.get("dim", cut.args[2] if len(cut.args) > 2 else 0)
    if cut.target not in _CHUNKS or 2 not in (*cut.args[1:2], cut.kwargs.get("chunks")) or dim != -1:
        return "its code cuts the packed linear at fixed positions"
    if len(operations.readers(source)) != 1 or len(cut.users) != 2:
        return "the packed linear has another user"
    return Gate(source, None, half, consumer)


def _piece(node: fx.Node) -> tuple[fx.Node | None, int]:
    cut, *index = node.args or (None,)
    if getattr(node.target, "__name__", "") != "getitem" or not isinstance(cut, fx.Node):
        return None, -1
    return cut, index[0] if index and isinstance(index[0], int) else -1
