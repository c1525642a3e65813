"""Chains: MLPs of which one's second linear is the next one's first, so that their widths must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from rewriter.layouts import features, taps
from rewriter.methods import Placement
from rewriter.packed_experts import PackedExperts
from rewriter.recipe.inner_layers import has_bias, inner_records, inner_shape
from rewriter.recipe.packed_experts import experts_record, experts_shape
from rewriter.recipe.schema import ChannelwiseRecord, ExpertsRecord, LinearRecord, SiteRecord
from rewriter.recipe.widths import Chain, Feed
from rewriter.sites import Site
from rewriter.sites.site import Hidden

ResizedRecord = LinearRecord | ChannelwiseRecord | ExpertsRecord


@dataclass(frozen=True)
class PlacedSite:
    """A site with what a method puts there."""

    site: Site
    rank: int
    placement: Placement

    @property
    def resized(self) -> bool:
        """Whether its layers change their shape."""
        return self.placement.branches > 1

    @property
    def hidden(self) -> Hidden:
        """The layers of a site that is resized."""
        hidden = self.site.hidden
        assert isinstance(hidden, Hidden), f"{self.placement.function} needs an MLP, and {self.site.path} is none"
        return hidden

    @property
    def inner_paths(self) -> tuple[str, ...]:
        """The paths of the layers between the ends of an MLP."""
        return tuple(inner.path for inner in self.site.hidden.inner) if isinstance(self.site.hidden, Hidden) else ()

    @property
    def experts(self) -> PackedExperts | None:
        """The packed experts of a site that has no layers of its own."""
        return self.site.hidden if isinstance(self.site.hidden, PackedExperts) else None

    @property
    def units(self) -> int:
        """Number of hidden units before the rewrite."""
        return features(self.hidden.project)[0]

    def feeds(self) -> list[tuple[str, nn.Module, Feed]]:
        """List the layers that make the values of the hidden units, with their paths."""
        branches, hidden, site = self.placement.branches, self.hidden, self.site
        packed = hidden.half is not None
        first = Feed(1 + packed, branches + packed, has_bias(hidden.expand), taps(hidden.expand))
        made = [(site.producer, hidden.expand, first)]
        if hidden.partner is not None:
            feed = Feed(1, 1, has_bias(hidden.partner), taps(hidden.partner))
            made.append((str(site.partner), hidden.partner, feed))
        return made

    def record(self, *, hidden: tuple[int, int] | None, chain: str, before: int, after: int) -> SiteRecord:
        """Write the site into a recipe; the arguments are the record's fields of those names."""
        site = self.site
        return SiteRecord(
            path=site.path,
            kind=site.kind,
            activation=str(site.activation),
            owner=site.address.owner,
            call=site.address.call,
            module=site.address.module,
            code=site.address.code,
            producer=site.producer,
            consumer=site.consumer,
            partner=site.partner,
            channels_dim=site.channels_dim,
            depth=site.depth,
            rank=self.rank,
            placement=self.placement,
            hidden=hidden,
            chain=chain,
            parameters_before=before,
            parameters_after=after,
        )


def chains_of(placed: Sequence[PlacedSite]) -> list[list[PlacedSite]]:
    """Group placed sites into chains, each in the order of its data flow; others are chains of one."""
    resized = {p.site.producer: p for p in placed if p.resized and p.site.lone is None}
    continued = {p.site.consumer for p in resized.values()}
    chains = [[p] for p in placed if not p.resized or p.site.lone is not None]
    for start in resized.values():
        if start.site.producer in continued:
            continue
        chain = [start]
        while (following := resized.get(str(chain[-1].site.consumer))) is not None:
            chain.append(following)
        chains.append(chain)
    return chains


def entangled(placed: Sequence[PlacedSite]) -> dict[str, str]:
    """Give the lone sites that cannot be split because their layer is one of an MLP that changes, with the reasons."""
    layers = {
        path: p.site.path
        for p in placed
        if p.resized and p.site.lone is None
        for path in (p.site.producer, p.site.consumer, p.site.partner, *p.inner_paths)
    }
    return {
        p.site.path: f"its layer {lone.path} belongs to the MLP at {layers[lone.path]}"
        for p in placed
        if p.resized and (lone := p.site.lone) is not None and lone.path in layers
    }


def chain_shape(chain: Sequence[PlacedSite], coefficients: int) -> Chain:
    """Describe the shape of a chain of MLPs; ``coefficients`` are the trainable ones of its new functions."""
    packed = chain[0].experts
    if packed is not None:
        freed = chain[0].site.activation_parameters
        return experts_shape(packed, chain[0].placement.branches, freed=freed, coefficients=coefficients)
    return Chain(
        fan_in=features(chain[0].hidden.expand)[0],
        hidden=tuple(p.units for p in chain),
        feeds=tuple(tuple(feed for _, _, feed in p.feeds()) for p in chain),
        fan_out=features(chain[-1].hidden.project)[1],
        freed=sum(p.site.activation_parameters for p in chain),
        coefficients=coefficients,
        last_taps=taps(chain[-1].hidden.project),
        inner=tuple(inner_shape(p.hidden.inner, p.units, p.placement.branches) for p in chain),
    )


def resized(chain: Sequence[PlacedSite], widths: Sequence[int]) -> list[list[ResizedRecord]]:
    """Give the new shapes of all that changes in a chain, for each site together."""
    packed = chain[0].experts
    if packed is None:
        sites = zip(chain, widths, strict=True)
        between = (inner_records(p.site.path, p.hidden.inner, p.units, h, p.placement.branches) for p, h in sites)
        return [[*ends, *inner] for ends, inner in zip(_resized_layers(chain, widths), between, strict=True)]
    return [[experts_record(chain[0].site.producer, packed, chain[0].placement.branches, widths[0])]]


def _resized_layers(chain: Sequence[PlacedSite], widths: Sequence[int]) -> list[list[LinearRecord]]:
    """Give the new shapes of all layers of a chain, those that feed each site together, and last the final one.

    Branches are packed, one after the other, in the output of the layer that is activated.
    """
    records: list[list[LinearRecord]] = []
    width = features(chain[0].hidden.expand)[0]
    for p, units in zip(chain, widths, strict=True):
        records.append(
            [
                LinearRecord(
                    path=path,
                    before=features(layer),
                    after=(width, feed.after * units),
                    bias=feed.bias,
                    taps=feed.taps,
                    half=p.hidden.half,
                    glu=p.hidden.glu,
                )
                for path, layer, feed in p.feeds()
            ]
        )
        width = units
    last = chain[-1].hidden.project
    before = features(last)
    path = str(chain[-1].site.consumer)
    after = (width, before[1])
    records[-1].append(LinearRecord(path=path, before=before, after=after, bias=has_bias(last), taps=taps(last)))
    return records
