"""Matching: every activation call becomes a site or a miss with a reason."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import cast

from torch import fx, nn

from rewriter.sites.address import Addresses
from rewriter.sites.depth import depths
from rewriter.sites.experts import experts_of
from rewriter.sites.flow import NoSiteHereError, feeding, is_gate, is_inner_gate, require_hidden
from rewriter.sites.lone import lone_layer
from rewriter.sites.mlp import NodesOfMLP, mlp_around
from rewriter.sites.obstacles import Obstacles
from rewriter.sites.operations import Operations
from rewriter.sites.out_of_scope import GATE
from rewriter.sites.site import ActivationAddress, Hidden, InnerLayer, Kind, Lone, Miss, Site
from rewriter.sites.unseen import unseen_activations
from rewriter.tracing import Trace
from rewriter.tracing.hooks import would_lose_hooks
from rewriter.tracing.own_forward import NotRewritableError
from rewriter.tracing.spellings import Activation


@dataclass(frozen=True)
class Matches:
    """The sites of a model in order of depth, and the activations that are none."""

    sites: tuple[Site, ...]
    misses: tuple[Miss, ...]


def match(trace: Trace) -> Matches:
    """Find the sites of a traced model; nothing in it is changed."""
    matcher = _Matcher(trace)
    experts = matcher.experts(trace)
    sites = [found for found in experts if isinstance(found, Site)]
    misses = {found.path: found for found in experts if isinstance(found, Miss)}
    inside = {site.address.owner for site in sites}
    for traced in trace.graphs:
        operations = Operations(traced)
        for node in traced.graph.nodes:
            activation = operations.activation(node)
            if activation is None or is_inner_gate(operations, node) or traced.calls[node].owner in inside:
                continue
            try:
                matcher.add(operations, node, activation)
            except (NoSiteHereError, NotRewritableError) as refusal:
                path = matcher.refuse(operations, node)
                misses.setdefault(path, Miss(path, str(activation), str(refusal)))
    for unseen in unseen_activations(trace):
        misses.setdefault(unseen.path, unseen)
    for site in sites:
        misses.pop(site.path, None)
    sites = sorted((*matcher.settle(), *sites), key=lambda site: site.depth)
    return Matches(tuple(sites), tuple(misses.values()))


class _Matcher:
    def __init__(self, trace: Trace) -> None:
        self._names = trace.names
        self._depths = depths(trace)
        self._addresses = Addresses(trace)
        self._obstacles = Obstacles(trace)
        self._sites: dict[ActivationAddress, Site] = {}
        self._refused: set[ActivationAddress] = set()
        self._nodes: dict[ActivationAddress, list[NodesOfMLP]] = defaultdict(list)
        self._calls: dict[ActivationAddress, list[tuple[nn.Module, fx.Node]]] = defaultdict(list)

    def add(self, operations: Operations, node: fx.Node, activation: Activation) -> None:
        """Turn one activation call into a site, or raise the reason why it is none."""
        module = operations.module(node)
        if module is not None and would_lose_hooks(module):
            raise NoSiteHereError("the activation module has hooks, which its replacement would lose")
        gate = is_gate(operations, node)
        around = mlp_around(operations, node, self._obstacles, gated=gate)
        if gate and isinstance(around, str):
            raise NoSiteHereError(f"it gates a gated MLP that cannot be split: {around}" if around else GATE.reason)
        require_hidden(operations, node, whole_model=operations.traced.path == "")
        if isinstance(around, str):
            source = feeding(operations, node, inplace=activation.inplace)
            producer, kind, dim = source.node, cast(Kind, source.kind), 1 if source.kind == "conv" else -1
            around = around or source.between or "its input takes a way that is not followed"
        else:
            layout = operations.layout(around.expand)
            assert layout is not None
            producer, kind, dim = around.expand, "gated" if gate else "mlp", layout.channels_dim
        address = self._addresses.of(operations.traced, node)
        hidden = around.hidden(operations, self._path) if isinstance(around, NodesOfMLP) else None
        if hidden and address.module is None and any(inner.path == address.owner for inner in hidden.inner):
            around, hidden, kind = "one code computes its norm and its activation", None, _lone_kind(kind, dim)
        expand = operations.module(producer)
        path = self._path(expand) if expand is not None else operations.traced.calls[producer].owner
        lone = self._lone(operations, node, address, dim) if hidden is None and kind in ("linear", "conv") else None
        known = self._sites.get(address)
        if known is not None and known.producer != path:
            raise NoSiteHereError(f"{address.path} serves several layers, which one replacement would tie together")
        site = Site(
            kind=kind,
            activation=activation,
            address=address,
            producer=path,
            consumer=self._path(hidden.project) if hidden else None,
            partner=self._path(hidden.partner) if hidden and hidden.partner else None,
            channels_dim=dim,
            depth=self._depths[node],
            hidden=hidden,
            not_an_mlp=around if isinstance(around, str) else None,
            lone=lone,
            activation_parameters=sum(p.numel() for p in module.parameters()) if module is not None else 0,
        )
        if isinstance(around, NodesOfMLP):
            self._nodes[address].append(around)
        if known is not None and known.kind != site.kind:
            site = known if known.hidden is None else site
        if known is None or known.depth < site.depth:
            self._sites[address] = site

    def _lone(self, operations: Operations, node: fx.Node, address: ActivationAddress, dim: int) -> Lone | None:
        end = lone_layer(operations, node, self._obstacles, dim)
        layer = operations.module(end.node) if end is not None else None
        if end is None or layer is None:
            return None
        inner = tuple(InnerLayer(call.layer, self._path(call.layer), call.role, call.wide) for call in end.inner)
        if address.module is None and any(one.path == address.owner for one in inner):
            return None
        self._calls[address] += [(layer, end.node), *((call.layer, call.node) for call in end.inner)]
        return Lone(layer, self._path(layer), inner)

    def experts(self, trace: Trace) -> list[Site | Miss]:
        """Find the packed experts."""
        return list(experts_of(trace, self._depths, self._obstacles))

    def refuse(self, operations: Operations, node: fx.Node) -> str:
        """Remember that one call at an address is no site, so that no other call there becomes one."""
        self._refused.add(self._addresses.named(operations.traced, node))
        return self._addresses.shown(operations.traced, node)

    def settle(self) -> tuple[Site, ...]:
        """Drop what another call at the same address forbids; demote MLPs whose layers are called elsewhere too."""
        kept = (site for address, site in self._sites.items() if address not in self._refused)
        return tuple(
            self._settled(site, site.hidden) if isinstance(site.hidden, Hidden) else self._settled_lone(site)
            for site in kept
        )

    def _settled_lone(self, site: Site) -> Site:
        if site.lone is None:
            return site
        called = self._calls[site.address]
        layers = (site.lone.layer, *(inner.layer for inner in site.lone.inner))
        alone = all(len(self._obstacles.calls[id(layer)]) == sum(one is layer for one, _ in called) for layer in layers)
        return site if alone else replace(site, lone=None)

    def _settled(self, site: Site, hidden: Hidden) -> Site:
        for layer in hidden.layers:
            expected = {node for nodes in self._nodes[site.address] for node in nodes.calls_of(layer, hidden)}
            # Only the numbers, since a run of code that was traced into is known by another node on either side.
            if len(self._obstacles.calls[id(layer)]) != len(expected):
                why = f"{self._path(layer)} is also called outside this MLP"
                kind = _lone_kind(site.kind, site.channels_dim)
                return replace(site, kind=kind, consumer=None, partner=None, hidden=None, not_an_mlp=why)
        return site

    def _path(self, module: nn.Module) -> str:
        return self._names.paths(module)[0]


def _lone_kind(kind: Kind, channels_dim: int) -> Kind:
    return "gated" if kind == "gated" else "conv" if channels_dim == 1 else "linear"
