"""Matching: every activation call becomes a site or a miss with a reason."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import cast

from torch import fx, nn

from rewriter.sites.address import Addresses
from rewriter.sites.depth import depths
from rewriter.sites.flow import NoSiteHereError, feeding, is_inner_gate, require_hidden, second_linear
from rewriter.sites.obstacles import Obstacles, unseen_activations
from rewriter.sites.operations import Operations
from rewriter.sites.site import ActivationAddress, Kind, Miss, Site
from rewriter.tracing import Trace
from rewriter.tracing.hooks import has_hooks
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
    misses: dict[str, Miss] = {}
    for traced in trace.graphs:
        operations = Operations(traced)
        for node in traced.graph.nodes:
            activation = operations.activation(node)
            if activation is None or is_inner_gate(operations, node):
                continue
            try:
                matcher.add(operations, node, activation)
            except (NoSiteHereError, NotRewritableError) as refusal:
                path = matcher.refuse(operations, node)
                misses.setdefault(path, Miss(path, str(activation), str(refusal)))
    for unseen in unseen_activations(trace):
        misses.setdefault(unseen.path, unseen)
    return Matches(matcher.settle(), tuple(misses.values()))


class _Matcher:
    def __init__(self, trace: Trace) -> None:
        self._names = trace.names
        self._depths = depths(trace)
        self._addresses = Addresses(trace)
        self._obstacles = Obstacles(trace)
        self._sites: dict[ActivationAddress, Site] = {}
        self._refused: set[ActivationAddress] = set()
        self._producing: dict[ActivationAddress, set[fx.Node]] = defaultdict(set)
        self._consuming: dict[ActivationAddress, set[fx.Node]] = defaultdict(set)

    def add(self, operations: Operations, node: fx.Node, activation: Activation) -> None:
        """Turn one activation call into a site, or raise the reason why it is none."""
        source = feeding(operations, node)
        require_hidden(operations, node, whole_model=operations.traced.path == "")
        module = operations.module(node)
        if module is not None and has_hooks(module):
            raise NoSiteHereError("the activation module has hooks, which its replacement would lose")
        address = self._addresses.of(operations.traced, node)
        expand = cast(nn.Module, operations.module(source.node))
        second = self._second(operations, node, source.kind, source.norm, expand)
        project = operations.module(second) if isinstance(second, fx.Node) else None
        site = Site(
            kind="mlp" if project is not None else cast(Kind, source.kind),
            activation=activation,
            address=address,
            producer=self._names.paths(expand)[0],
            consumer=self._names.paths(project)[0] if project is not None else None,
            channels_dim=1 if source.kind == "conv" else -1,
            depth=self._depths[node],
            expand=expand,
            project=cast(nn.Linear, project),
            not_an_mlp=second if isinstance(second, str) else None,
            activation_parameters=sum(p.numel() for p in module.parameters()) if module is not None else 0,
        )
        self._producing[address].add(source.node)
        if isinstance(second, fx.Node):
            self._consuming[address].add(second)
        known = self._sites.get(address)
        if known is not None and known.expand is not expand:
            raise NoSiteHereError(f"{address.path} serves several layers, which one replacement would tie together")
        if known is not None and known.kind != site.kind:
            site = known if known.kind != "mlp" else site
        if known is None or known.depth < site.depth:
            self._sites[address] = site

    def _second(
        self, operations: Operations, node: fx.Node, kind: str, norm: str | None, expand: nn.Module
    ) -> fx.Node | str:
        if kind != "linear":
            return f"a {kind} feeds it, not a linear"
        if norm is not None:
            return f"{norm} stands between the first linear and the activation"
        second = second_linear(operations, node)
        if isinstance(second, fx.Node):
            project = cast(nn.Module, operations.module(second))
            obstacle = self._obstacles.to_resizing(expand) or self._obstacles.to_resizing(project)
            return obstacle or second
        return second

    def refuse(self, operations: Operations, node: fx.Node) -> str:
        """Remember that one call at an address is no site, so that no other call there becomes one."""
        with contextlib.suppress(NotRewritableError):
            self._refused.add(self._addresses.of(operations.traced, node))
        return self._addresses.shown(operations.traced, node)

    def settle(self) -> tuple[Site, ...]:
        """Drop what another call at the same address forbids; demote MLPs whose linears are called elsewhere too."""
        kept = (site for address, site in self._sites.items() if address not in self._refused)
        return tuple(sorted((self._demoted(site) for site in kept), key=lambda site: site.depth))

    def _demoted(self, site: Site) -> Site:
        if site.kind != "mlp":
            return site
        for linear, expected in ((site.expand, self._producing), (site.project, self._consuming)):
            if self._obstacles.calls[id(linear)] != expected[site.address]:
                path = self._names.paths(cast(nn.Module, linear))[0]
                why = f"{path} is also called outside this MLP"
                return replace(site, kind="linear", consumer=None, project=None, not_an_mlp=why)
        return site
