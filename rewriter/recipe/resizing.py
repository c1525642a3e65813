"""Resizing: the new shapes of all layers of a chain of sites, within its budget."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.layouts import features
from rewriter.recipe.chains import PlacedSite, ResizedRecord, chain_shape, resized
from rewriter.recipe.low_rank import low_rank
from rewriter.recipe.options import RewriteOptions
from rewriter.recipe.schema import SiteRecord
from rewriter.recipe.widths import hidden_widths, why_no_width


def resize(
    chain: Sequence[PlacedSite], coefficients: Sequence[int], options: RewriteOptions
) -> tuple[list[SiteRecord], list[ResizedRecord]] | str:
    """Give the records of a chain's sites and of the layers that change.

    Args:
        chain: sites in the order of their data flow.
        coefficients: how many parameters the new function of each has.
        options: of the rewrite.

    Returns:
        The records, or why there are none.
    """
    first = chain[0]
    if first.site.lone is not None:
        spare = first.site.activation_parameters - coefficients[0]
        branches = first.placement.branches
        factors = low_rank(first.site.lone, branches, options, spare=spare)
        if isinstance(factors, str):
            return factors
        units = features(first.site.lone.layer)[1]
        hidden, changed = [(units, units)], [list[ResizedRecord](factors)]
    else:
        shape = chain_shape(chain, sum(coefficients))
        widths = hidden_widths(shape, options)
        if widths is None:
            return why_no_width(shape, options, first.placement.branches)
        hidden, changed = list(zip(shape.hidden, widths, strict=True)), resized(chain, widths)
    sites = [
        p.record(
            hidden=pair,
            chain=first.site.path,
            before=sum(record.parameters_before for record in own) + p.site.activation_parameters,
            after=sum(record.parameters_after for record in own) + count,
        )
        for p, pair, own, count in zip(chain, hidden, changed, coefficients, strict=True)
    ]
    return sites, [record for own in changed for record in own]
