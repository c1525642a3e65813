"""Matching: every activation call becomes a site or a miss with a reason."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from torch import fx, nn

from rewriter.sites.address import Addresses
from rewriter.sites.depth import depths
from rewriter.sites.experts import experts_of
from rewriter.sites.flow import NoSiteHereError, feeding, is_gate, require_hidden
from rewriter.sites.lone import lone_layer
from rewriter.sites.mlp import NodesOfMLP, mlp_around
from rewriter.sites.obstacles import Obstacles
from rewriter.sites.operations import Operations
from rewriter.sites.out_of_scope import GATE, PARAMETER, SOFTMAX
from rewriter.sites.products import is_softmax
from rewriter.sites.region import Region
from rewriter.sites.regions import Regions
from rewriter.sites.site import ActivationAddress, Hidden, InnerLayer, Kind, Lone, Miss, Site
from rewriter.sites.unseen import unseen_activations
from rewriter.sites.ways import Ways, settled
from rewriter.tracing import Trace
from rewriter.tracing.calls import Run
from rewriter.tracing.hooks import would_lose_hooks
from rewriter.tracing.spellings import Activation


@dataclass(frozen=True)
class Matches:
    """The sites of a model in order of depth, and the activations that are none."""

    sites: tuple[Site, ...]
    misses: tuple[Miss, ...]


def match(trace: Trace, *, in_code: bool = False) -> Matches:
    """Find the sites of a traced model; nothing in it is changed.

    Args:
        trace: the traced model.
        in_code: also change the code that calls a function which is an attribute, rather than the attribute.
    """
    matcher = _Matcher(trace, in_code=in_code)
    found = matcher.experts(trace)
    sites = [one for one in found if isinstance(one, Site)]
    misses = {one.path: one for one in found if isinstance(one, Miss)}
    inside = {site.address.owner for site in sites}
    for traced in trace.graphs:
        regions = Regions(traced, trace.model, matcher.known)
        operations = Operations(traced, regions)
        addresses = Addresses(trace, traced, regions, matcher.names)
        for node in traced.graph.nodes:
            region = regions.by_exit.get(node)
            if (alone := regions.activation_of(node)) is not None and not regions.is_varying(node):
                static = regions.is_static(node)
                why = (
                    PARAMETER.because(operations.describe(node.all_input_nodes[0])) if static else "it takes two values"
                )
                path = addresses.shown(node)
                misses.setdefault(path, Miss(path, str(alone), why))
            if is_softmax(operations, node):
                misses.setdefault(addresses.shown(node), Miss(addresses.shown(node), "softmax", SOFTMAX.reason))
            if region is not None and traced.calls[node].owner not in inside:
                matcher.look_at(operations, addresses, region)
    settled_sites, refused = matcher.settle()
    for miss in (*refused, *unseen_activations(trace)):
        misses.setdefault(miss.path, miss)
    for site in sites:
        misses.pop(site.path, None)
    sites = sorted((*settled_sites, *sites), key=lambda site: site.depth)
    return Matches(tuple(sites), tuple(misses.values()))


@dataclass(frozen=True)
class _Found:
    """A site whose address is not chosen yet."""

    site: Site
    nodes: NodesOfMLP | None
    lone_calls: list[tuple[nn.Module, fx.Node | Run]] = field(default_factory=list)


class _Matcher:
    def __init__(self, trace: Trace, *, in_code: bool) -> None:
        self._in_code = in_code
        self.known: dict[str, Activation | str] = {}
        self.names: dict[tuple[str, object], str] = {}
        self._names = trace.names
        self._depths = depths(trace)
        self._obstacles = Obstacles(trace)
        self._found: dict[Region, _Found] = {}
        self._ways: dict[Region, Ways] = {}
        self._producers: dict[Region, str] = {}
        self._misses: list[Miss] = []

    def look_at(self, operations: Operations, addresses: Addresses, region: Region) -> None:
        """Note what one activation is: the hidden function of layers, or none that can be replaced."""
        ways = addresses.of(region, in_code=self._in_code)
        try:
            if not region.named and not self._is_hidden(operations, region):
                return
            found = self._site(operations, region)
            if ways.path is None:
                raise NoSiteHereError(ways.obstacle)
        except NoSiteHereError as refusal:
            self._ways[region] = ways
            self._producers[region] = f"{operations.traced.path}:{region.exit.name}"
            path = ways.path or addresses.shown(region.exit)
            self._misses.append(Miss(path, str(region.activation), str(refusal)))
            return
        self._found[region], self._ways[region] = found, ways
        self._producers[region] = found.site.producer

    def _is_hidden(self, operations: Operations, region: Region) -> bool:
        """Say whether an elementwise function is an MLP's; only there is one an activation that has no known name."""
        return isinstance(mlp_around(operations, region, self._obstacles, gated=False), NodesOfMLP)

    def _site(self, operations: Operations, region: Region) -> _Found:
        """Turn one activation into a site, or raise the reason why it is none."""
        module = operations.module(region.exit) if len(region.nodes) == 1 else None
        if any((one := operations.module(node)) is not None and would_lose_hooks(one) for node in region.nodes):
            raise NoSiteHereError("the activation module has hooks, which its replacement would lose")
        if region.obstacle is not None:
            raise NoSiteHereError(region.obstacle)
        gate = region.glu or is_gate(operations, region.exit)
        around = mlp_around(operations, region, self._obstacles, gated=gate)
        if region.glu and isinstance(around, str):
            raise NoSiteHereError(GATE.because(f"inside a GLU, {around}" if around else "inside a GLU"))
        if gate and isinstance(around, str):
            raise NoSiteHereError(f"it gates a gated MLP that cannot be split: {around}" if around else GATE.reason)
        require_hidden(operations, region, whole_model=operations.traced.path == "")
        if isinstance(around, str):
            source = feeding(operations, region)
            producer, kind, dim = source.node, cast(Kind, source.kind), 1 if source.kind == "conv" else -1
            around = around or source.between or "its input takes a way that is not followed"
        else:
            layout = operations.layout(around.expand)
            assert layout is not None
            producer, kind, dim = around.expand, "gated" if gate else "mlp", layout.channels_dim
        hidden = around.hidden(operations, self._path) if isinstance(around, NodesOfMLP) else None
        expand = operations.module(producer)
        path = self._path(expand) if expand is not None else operations.traced.calls[producer].owner
        lone, calls = None, list[tuple[nn.Module, fx.Node | Run]]()
        if hidden is None and kind in ("linear", "conv"):
            lone, calls = self._lone(operations, region, dim)
        site = Site(
            kind=kind,
            activation=region.activation,
            address=ActivationAddress("", 0, None),
            producer=path,
            consumer=self._path(hidden.project) if hidden else None,
            partner=self._path(hidden.partner) if hidden and hidden.partner else None,
            channels_dim=dim,
            depth=self._depths[region.exit],
            hidden=hidden,
            not_an_mlp=around if isinstance(around, str) else None,
            lone=lone,
            activation_parameters=sum(p.numel() for p in module.parameters()) if module is not None else 0,
            original=partial(operations.regions.function, region),
        )
        return _Found(site, around if isinstance(around, NodesOfMLP) else None, calls)

    def _lone(
        self, operations: Operations, region: Region, dim: int
    ) -> tuple[Lone | None, list[tuple[nn.Module, fx.Node | Run]]]:
        end = lone_layer(operations, region, self._obstacles, dim)
        layer = operations.module(end.node) if end is not None else None
        if end is None or layer is None:
            return None, []
        inner = tuple(InnerLayer(call.layer, self._path(call.layer), call.role, call.wide) for call in end.inner)
        calls: list[tuple[nn.Module, fx.Node | Run]] = [(layer, end.node)]
        return Lone(layer, self._path(layer), inner), calls + [(call.layer, call.node) for call in end.inner]

    def experts(self, trace: Trace) -> list[Site | Miss]:
        """Find the packed experts."""
        return list(experts_of(trace, self._depths, self._obstacles))

    def settle(self) -> tuple[list[Site], list[Miss]]:
        """Give every site its address; drop what would be tied together, demote what is called elsewhere."""
        together: dict[ActivationAddress, list[_Found]] = defaultdict(list)
        misses = list(self._misses)
        for region, address in settled(self._ways, self._producers, self._ways.keys() - self._found.keys()).items():
            if region not in self._found:
                continue
            if isinstance(address, str):
                misses.append(Miss(self._ways[region].shared, str(region.activation), address))
                continue
            found = self._found[region]
            among = together[replace(address, call=0)]  # of several calls of one the first gives its position
            first = among[0].site.address if among else address
            among.append(replace(found, site=replace(found.site, address=first)))
        return [self._settled(found) for found in together.values()], misses

    def _settled(self, found: list[_Found]) -> Site:
        kinds = {one.site.kind for one in found}
        among = [one.site for one in found if len(kinds) == 1 or one.site.hidden is None]
        site = self._outside_of_norms(max(among, key=lambda one: one.depth))
        if isinstance(site.hidden, Hidden):
            return self._alone(site, site.hidden, [one.nodes for one in found if one.nodes is not None])
        if site.lone is None:
            return site
        called = [call for one in found for call in one.lone_calls]
        layers = (site.lone.layer, *(inner.layer for inner in site.lone.inner))
        alone = all(len(self._obstacles.calls[id(layer)]) == sum(one is layer for one, _ in called) for layer in layers)
        return site if alone else replace(site, lone=None)

    def _outside_of_norms(self, site: Site) -> Site:
        inner = site.hidden.inner if isinstance(site.hidden, Hidden) else site.lone.inner if site.lone else ()
        if site.address.module is not None or not any(one.path == site.address.owner for one in inner):
            return site
        return self._demoted(replace(site, lone=None), "one code computes its norm and its activation")

    def _alone(self, site: Site, hidden: Hidden, nodes: list[NodesOfMLP]) -> Site:
        for layer in hidden.layers:
            expected = {node for one in nodes for node in one.calls_of(layer, hidden)}
            # Only the numbers, since a run of code that was traced into is known by another node on either side.
            if len(self._obstacles.calls[id(layer)]) != len(expected):
                return self._demoted(site, f"{self._path(layer)} is also called outside this MLP")
        return site

    def _demoted(self, site: Site, why: str) -> Site:
        if site.hidden is None:
            return site
        kind: Kind = "gated" if site.kind == "gated" else "conv" if site.channels_dim == 1 else "linear"
        return replace(site, kind=kind, consumer=None, partner=None, hidden=None, not_an_mlp=why)

    def _path(self, module: nn.Module) -> str:
        return self._names.paths(module)[0]
