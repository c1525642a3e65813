"""Recipes carried out exactly: plans whose layers can hold the old weights, whole or the units of each site twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rewriter.recipe import ChannelwiseRecord, LinearRecord, Recipe, SiteRecord
from rewriter.sites import Site
from rewriter.sites.site import Hidden

_READS, _MAKES = ("reads", "maps"), ("makes", "maps")


def exact_recipe(recipe: Recipe) -> Recipe:
    """Give the plan that keeps every hidden width; low-rank factors are left out."""
    return _with_widths(recipe, {site.path: 1 for site in recipe.sites}, {}, full_rank=False)


def wider_recipe(recipe: Recipe, found: Mapping[str, Site]) -> Recipe | None:
    """Give the plan with twice the old hidden width where it changes the width, and low-rank factors of full rank.

    What reads the hidden units of a site without following their number does not fit, or computes something else.

    Args:
        recipe: the plan.
        found: the sites of the model by path.

    Returns:
        None for a plan without new widths and low-rank factors.
    """
    wider = {s.path for s in recipe.sites if s.hidden is not None and s.hidden[0] != s.hidden[1]}
    if not wider and not any(record.rank for record in recipe.linears):
        return None
    roles = {
        inner.path: inner.role
        for site in recipe.sites
        if isinstance(hidden := found[site.path].hidden, Hidden)
        for inner in hidden.inner
    }
    return _with_widths(recipe, {s.path: 1 + (s.path in wider) for s in recipe.sites}, roles, full_rank=True)


def kept_units(recipe: Recipe) -> dict[str, Tensor]:
    """Give the old unit of each unit in a wider recipe; the twins stand together, so that groups of channels stay."""
    grown = [(s.path, s.hidden) for s in recipe.sites if s.hidden is not None and s.hidden[0] != s.hidden[1]]
    return {path: torch.arange(before).repeat_interleave(after // before) for path, (before, after) in grown}


def _with_widths(recipe: Recipe, times: Mapping[str, int], roles: Mapping[str, str], *, full_rank: bool) -> Recipe:
    feeds = {path: site for site in recipe.sites for path in (site.producer, site.partner) if path is not None}
    readers = {site.consumer: site for site in recipe.sites if site.consumer is not None}

    def linear(record: LinearRecord) -> LinearRecord:
        (fan_in, fan_out), units = record.before, record.after[1]
        if record.site is not None:
            role = roles.get(record.path, "")
            grown = fan_in * (times[record.site] if role in _READS else 1)
            return record.model_copy(
                update={"after": (grown, fan_out * (times[record.site] if role in _MAKES else 1)), "rank": None}
            )
        if record.rank is not None:
            fan_out = units  # it keeps its width, and holds every branch
        elif (fed := feeds.get(record.path)) is not None and fed.hidden is not None:
            fan_out = units // fed.hidden[1] * fed.hidden[0] * times[fed.path]
        if record.path in readers:
            fan_in *= times[readers[record.path].path]
        full = min(record.before[0] * record.taps, record.before[1])
        return record.model_copy(
            update={"after": (fan_in, fan_out), "rank": full if full_rank and record.rank else None}
        )

    def channelwise(record: ChannelwiseRecord) -> ChannelwiseRecord:
        grown = times[record.site] if record.site is not None else 1
        return record.model_copy(update={"after": record.branches * record.before * grown})

    def site(record: SiteRecord) -> SiteRecord:
        before = record.hidden and (record.hidden[0], record.hidden[0] * times[record.path])
        return record.model_copy(update={"hidden": before})

    experts = {s.producer: times[s.path] for s in recipe.sites}
    return recipe.model_copy(
        update={
            "sites": tuple(map(site, recipe.sites)),
            "linears": tuple(map(linear, recipe.linears)),
            "channelwise": tuple(map(channelwise, recipe.channelwise)),
            "experts": tuple(
                record.model_copy(update={"hidden": (record.hidden[0], record.hidden[0] * experts[record.path])})
                for record in recipe.experts
            ),
            "options": {**recipe.options, "init": "warm", "width": "keep"},
        }
    )


def groups_of(recipe: Recipe) -> list[list[SiteRecord]]:
    """Group the sites that can only be rewritten together: chains, turns of one loop, and all low-rank splits."""
    packed = {record.path for record in recipe.experts}
    groups: dict[object, list[SiteRecord]] = {}
    for site in recipe.sites:
        turns = (site.owner, site.address.code and site.address.code.name) if site.address.turn is not None else None
        lone = "lone" if site.hidden is not None and site.consumer is None and site.producer not in packed else None
        groups.setdefault(turns or lone or site.chain, []).append(site)
    return list(groups.values())


def restricted(recipe: Recipe, groups: Sequence[Sequence[SiteRecord]]) -> Recipe:
    """Give the part of a plan that rewrites some groups of its sites."""
    sites = [site for group in groups for site in group]
    chains = {site.chain for site in sites}
    sites = [site for site in recipe.sites if site.chain in chains or site in sites]
    names = {site.path for site in sites}
    layers = {path for site in sites for path in (site.producer, site.partner, site.consumer) if path is not None}
    lone = any(site.hidden is not None and site.consumer is None for site in sites)

    def taken(record: LinearRecord | ChannelwiseRecord) -> bool:
        if record.site is not None:
            return record.site in names
        is_lone = isinstance(record, ChannelwiseRecord) or record.rank is not None
        return lone if is_lone else record.path in layers

    return recipe.model_copy(
        update={
            "sites": tuple(sites),
            "linears": tuple(filter(taken, recipe.linears)),
            "channelwise": tuple(filter(taken, recipe.channelwise)),
            "experts": tuple(record for record in recipe.experts if record.path in layers),
        }
    )
