"""Planning: choose what goes to each site, and how wide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from torch import nn

from rewriter.calibration import observe
from rewriter.counting import count_parameters
from rewriter.errors import CaptureError
from rewriter.methods import Method, MethodConfig, Placement, get_method
from rewriter.packed_experts import PackedExperts
from rewriter.recipe.chains import PlacedSite, ResizedRecord, chains_of, entangled
from rewriter.recipe.options import RewriteOptions, split_options
from rewriter.recipe.provenance import SourceRecord
from rewriter.recipe.resizing import resize
from rewriter.recipe.schema import (
    ChannelwiseRecord,
    ExpertsRecord,
    LinearRecord,
    MissRecord,
    Recipe,
    SiteRecord,
)
from rewriter.sites import Matches, Site, match
from rewriter.sites.site import Hidden
from rewriter.tracing import trace
from rewriter.wrapped import require_plain


def draft(
    model: nn.Module,
    method_name: str,
    options: Mapping[str, Any],
    *,
    source: SourceRecord | None = None,
    calibration: Iterable[Any] | None = None,
    example_inputs: Any = None,
) -> Recipe:
    """Plan a rewrite; the model is not changed.

    Args:
        model: the model as it is; without calibration its weights are not read, so they may be on the ``meta`` device.
        method_name: which method.
        options: the engine's and the method's options together.
        source: a record of where the model came from, kept in the recipe.
        calibration: example inputs; methods that observe what enters the activations run the model on them.
        example_inputs: one set of inputs, whose shapes and dtypes alone are read: see `rewriter.tracing.record`.

    Returns:
        A recipe, with no sites when the method finds none.

    Raises:
        UsageError: an unknown method or option, or a value or calibration input that does not fit.
        CaptureError: a module could not be captured and ``strict`` was given.
    """
    require_plain(model)
    method = get_method(method_name)
    engine, config = split_options(method, options)
    if engine.init == "warm":
        config = method.warmed(config)
    traced = trace(model, example_inputs)
    if engine.strict and traced.untraced:
        first = traced.untraced[0]
        raise CaptureError(
            expected="every module to be captured",
            found=f"{len(traced.untraced)} that were not, first {first.path or 'the model'} ({first.reason})",
            remedy="leave --strict out to rewrite what was captured",
        )
    matches = match(traced)
    if calibration is not None and method.observes:
        matches = replace(matches, sites=observe(traced, matches.sites, calibration))
    misses = [MissRecord(path=miss.path, function=miss.function, reason=miss.reason) for miss in matches.misses]
    understood = {site.producer for site in matches.sites if isinstance(site.hidden, PackedExperts)}
    misses += [
        MissRecord(path=u.path or "(model)", function=u.kind, reason=f"not captured: {u.reason}")
        for u in traced.untraced
        if u.path not in understood
    ]
    wanted, refused = _choose(method, config, engine, matches)
    while True:  # the alternation counts rewritten sites alone
        sites, changed, unfitting = _resize(method, _place(method, config, wanted), engine)
        unfitting = unfitting or _broken_loops(wanted, matches)
        if not unfitting:
            break
        refused += unfitting
        wanted = [site for site in wanted if site.path not in {miss.path for miss in unfitting}]
    before = count_parameters(model)
    return Recipe(
        method=method.name,
        options={**engine.model_dump(mode="json", exclude={"seed"}), **config.model_dump(mode="json")},
        seed=engine.seed,
        sites=tuple(sites),
        linears=tuple(record for record in changed if isinstance(record, LinearRecord)),
        channelwise=tuple(record for record in changed if isinstance(record, ChannelwiseRecord)),
        experts=tuple(record for record in changed if isinstance(record, ExpertsRecord)),
        misses=tuple(refused + misses),
        parameters_before=before,
        parameters_after=before + sum(site.parameters_after - site.parameters_before for site in sites),
        source=source,
    )


def _choose(
    method: Method[Any], config: MethodConfig, options: RewriteOptions, matches: Matches
) -> tuple[list[Site], list[MissRecord]]:
    wanted: list[Site] = []
    refused: list[MissRecord] = []
    for site in matches.sites:
        why = _filtered(site, options) or _unwanted(site, method, config) or method.refuse(site, config)
        if why is None:
            wanted.append(site)
        else:
            refused.append(MissRecord(path=site.path, function=str(site.activation), reason=why))
    return wanted, refused


def _broken_loops(wanted: list[Site], matches: Matches) -> list[MissRecord]:
    """Refuse what one expression in a loop computes for several layers where it is not wanted for all of them."""
    turns = Counter(site.address.loop for site in matches.sites)
    left = Counter(site.address.loop for site in wanted)
    why = "it is computed in a loop, in which another layer's is not rewritten"
    broken = (site for site in wanted if site.address.loop and left[site.address.loop] < turns[site.address.loop])
    return [MissRecord(path=site.path, function=str(site.activation), reason=why) for site in broken]


def _place(method: Method[Any], config: MethodConfig, sites: list[Site]) -> list[PlacedSite]:
    ranks = {depth: rank for rank, depth in enumerate(sorted({site.depth for site in sites}, reverse=True))}
    return [PlacedSite(site, ranks[site.depth], method.place(site, ranks[site.depth], config)) for site in sites]


def _unwanted(site: Site, method: Method[Any], config: MethodConfig) -> str | None:
    if site.lone is not None and method.splits_lone(config):
        return None
    if isinstance(site.hidden, Hidden) and site.hidden.glu and not method.resizes:
        return "it is the gate inside a GLU"
    if site.kind in method.kinds and (site.hidden is not None or not method.resizes):
        return None
    if site.kind == "gated" and site.hidden is not None:
        return "it is the gate of a gated MLP"
    return f"not an MLP: {site.not_an_mlp}"


def _filtered(site: Site, options: RewriteOptions) -> str | None:
    if options.include and not _any_matches(site.paths, options.include):
        return "no include pattern matches it"
    return "an exclude pattern matches it" if _any_matches(site.paths, options.exclude) else None


def _any_matches(paths: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns for path in paths)


def _resize(
    method: Method[Any], placed: list[PlacedSite], options: RewriteOptions
) -> tuple[list[SiteRecord], list[ResizedRecord], list[MissRecord]]:
    @cache
    def coefficients(settings: str, channels_dim: int) -> int:
        placement = Placement.model_validate_json(settings)
        return count_parameters(method.build(placement.settings, channels_dim))

    sites: list[SiteRecord] = []
    changed: list[ResizedRecord] = []
    misses: list[MissRecord] = []
    shared = entangled(placed)
    for chain in chains_of(placed):
        new = [coefficients(p.placement.model_dump_json(), p.site.channels_dim) for p in chain]
        if not chain[0].resized:
            sites += [_unresized(p, count) for p, count in zip(chain, new, strict=True)]
            continue
        found = shared.get(chain[0].site.path) or resize(chain, new, options)
        if isinstance(found, str):
            misses += [MissRecord(path=p.site.path, function=str(p.site.activation), reason=found) for p in chain]
            continue
        sites += found[0]
        changed += found[1]
    order = {p.site.path: number for number, p in enumerate(placed)}
    return sorted(sites, key=lambda site: order[site.path]), changed, misses


def _unresized(placed: PlacedSite, coefficients: int) -> SiteRecord:
    return placed.record(
        hidden=None, chain=placed.site.path, before=placed.site.activation_parameters, after=coefficients
    )
