"""Chains: MLPs of which one's second linear is the next one's first, so that their widths must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from rewriter.methods import Placement
from rewriter.recipe.schema import LinearRecord, SiteRecord
from rewriter.recipe.widths import Chain
from rewriter.sites import Site


@dataclass(frozen=True)
class PlacedSite:
    """A site with what a method puts there."""

    site: Site
    rank: int
    placement: Placement

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
    resized = {p.site.producer: p for p in placed if p.placement.branches > 1}
    continued = {p.site.consumer for p in resized.values()}
    chains = [[p] for p in placed if p.placement.branches == 1]
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
    first, *_, last = _linears(chain)
    expanding = _linears(chain)[:-1]
    return Chain(
        fan_in=first.in_features,
        hidden=tuple(linear.out_features for linear in expanding),
        branches=tuple(p.placement.branches for p in chain),
        biases=tuple(linear.bias is not None for linear in expanding),
        fan_out=last.out_features,
        freed=sum(p.site.activation_parameters for p in chain),
        coefficients=coefficients,
    )


def resized_linears(chain: Sequence[PlacedSite], widths: Sequence[int]) -> list[LinearRecord]:
    """Give the new shapes of all linears of a chain: branches are packed, one after the other, in the output."""
    linears = _linears(chain)
    paths = [p.site.producer for p in chain] + [str(chain[-1].site.consumer)]
    inputs = [linears[0].in_features, *widths]
    outputs = [p.placement.branches * width for p, width in zip(chain, widths, strict=True)]
    outputs.append(linears[-1].out_features)
    return [
        LinearRecord(
            path=path,
            before=(linear.in_features, linear.out_features),
            after=(inputs[number], outputs[number]),
            bias=linear.bias is not None,
        )
        for number, (path, linear) in enumerate(zip(paths, linears, strict=True))
    ]


def _linears(chain: Sequence[PlacedSite]) -> list[nn.Linear]:
    return [cast(nn.Linear, p.site.expand) for p in chain] + [cast(nn.Linear, chain[-1].site.project)]
