"""Chains: MLPs of which one's second linear is the next one's first, so that their widths must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from rewriter.layouts import features
from rewriter.methods import Placement
from rewriter.recipe.schema import LinearRecord, SiteRecord
from rewriter.recipe.widths import Chain, Feed
from rewriter.sites import Site
from rewriter.sites.site import Hidden


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
        assert self.site.hidden is not None, f"{self.placement.function} needs an MLP, and {self.site.path} is none"
        return self.site.hidden

    @property
    def units(self) -> int:
        """Number of hidden units before the rewrite."""
        return features(self.hidden.project)[0]

    def feeds(self) -> list[tuple[str, nn.Module, Feed]]:
        """List the layers that make the values of the hidden units, with their paths."""
        branches, hidden, site = self.placement.branches, self.hidden, self.site
        packed = hidden.half is not None
        first = Feed(before=1 + packed, after=branches + packed, bias=_has_bias(hidden.expand))
        made = [(site.producer, hidden.expand, first)]
        if hidden.partner is not None:
            made.append((str(site.partner), hidden.partner, Feed(before=1, after=1, bias=_has_bias(hidden.partner))))
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
    resized = {p.site.producer: p for p in placed if p.resized}
    continued = {p.site.consumer for p in resized.values()}
    chains = [[p] for p in placed if not p.resized]
    for start in resized.values():
        if start.site.producer in continued:
            continue
        chain = [start]
        while (following := resized.get(str(chain[-1].site.consumer))) is not None:
            chain.append(following)
        chains.append(chain)
    return chains


def chain_shape(chain: Sequence[PlacedSite], coefficients: int) -> Chain:
    """Describe the shape of a chain of MLPs; ``coefficients`` are the trainable ones of its new functions."""
    return Chain(
        fan_in=features(chain[0].hidden.expand)[0],
        hidden=tuple(p.units for p in chain),
        feeds=tuple(tuple(feed for _, _, feed in p.feeds()) for p in chain),
        fan_out=features(chain[-1].hidden.project)[1],
        freed=sum(p.site.activation_parameters for p in chain),
        coefficients=coefficients,
    )


def resized_layers(chain: Sequence[PlacedSite], widths: Sequence[int]) -> list[list[LinearRecord]]:
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
                    half=p.hidden.half,
                )
                for path, layer, feed in p.feeds()
            ]
        )
        width = units
    last = chain[-1].hidden.project
    before = features(last)
    path = str(chain[-1].site.consumer)
    records[-1].append(LinearRecord(path=path, before=before, after=(width, before[1]), bias=_has_bias(last)))
    return records


def _has_bias(layer: nn.Module) -> bool:
    return getattr(layer, "bias", None) is not None
