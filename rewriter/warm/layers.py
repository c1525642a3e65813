"""Carrying the weights of a model's layers over, as a recipe says which layers stand in the place of which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from rewriter.layouts import layout_of
from rewriter.recipe import ChannelwiseRecord, ExpertsRecord, LinearRecord, Recipe, SiteRecord
from rewriter.surgery.low_rank import LowRank
from rewriter.warm.carrying import Axis, carried, factored, summed
from rewriter.warm.units import repeated, strongest


@torch.no_grad()
def carry(original: nn.Module, rewritten: nn.Module, recipe: Recipe, kept: Mapping[str, Tensor]) -> None:
    """Fill the new layers of ``rewritten`` with the weights of the kept units of ``original``, in all branches.

    Args:
        original: the model that the recipe was made for.
        rewritten: what it became; its new layers are overwritten.
        recipe: what was done.
        kept: the old unit of each new one by the site's path; sites that are missing keep the units with the largest
            weights, or all.
    """
    axes = {s.path: _axis(original, s, kept.get(s.path)) for s in recipe.sites if s.hidden and s.consumer}
    feeds = {site.producer: site for site in recipe.sites if site.path in axes}
    partners = {str(site.partner): site for site in recipe.sites if site.path in axes and site.partner}
    readers = {str(site.consumer): site for site in recipe.sites if site.path in axes and site.consumer}
    for record in recipe.linears:
        old, new = original.get_submodule(record.path), rewritten.get_submodule(record.path)
        if isinstance(new, LowRank):
            _carry_low_rank(old, new, record)
            continue
        makes = axes[partners[record.path].path] if record.path in partners else None
        if record.path in feeds:
            site = feeds[record.path]
            makes = replace(axes[site.path], branches=site.placement.branches, half=record.half)
        reads = axes[readers[record.path].path] if record.path in readers else None
        if record.site is not None:
            makes = axes[record.site] if record.before[1] != record.after[1] else None
            reads = axes[record.site] if record.before[0] != record.after[0] else None
        _carry_linear(old, new, reads, makes)
    for between in recipe.channelwise:
        _carry_channelwise(original.get_submodule(between.path), rewritten.get_submodule(between.path), between, axes)
    for packed in recipe.experts:
        _carry_experts(original.get_submodule(packed.path), rewritten.get_submodule(packed.path), packed)


def _axis(original: nn.Module, site: SiteRecord, kept: Tensor | None) -> Axis:
    assert site.hidden is not None
    before, after = site.hidden
    if kept is not None:
        return Axis(kept, before)
    if after >= before:
        return Axis(repeated(before, after), before)
    expand, project = original.get_submodule(site.producer), original.get_submodule(str(site.consumer))
    makes, _ = _weight(expand)
    _, reads = _weight(project)
    wide = makes.reshape(-1, before, makes[0].numel()).transpose(0, 1)  # a packed gate has two rows for each unit
    return Axis(strongest(wide, reads, after), before)


def _weight(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Give a layer's weight with its outputs first, and with its inputs first."""
    layout = layout_of(layer)
    assert layout is not None
    weight = layer.get_parameter("weight").detach()
    return (weight, weight.transpose(0, 1)) if layout.units_dim == 0 else (weight.transpose(0, 1), weight)


def _carry_linear(old: nn.Module, new: nn.Module, reads: Axis | None, makes: Axis | None) -> None:
    layout = layout_of(old)
    assert layout is not None
    weight = summed(old.get_parameter("weight").detach(), 1 - layout.units_dim, reads)
    new.get_parameter("weight").copy_(carried(weight, layout.units_dim, makes))
    if getattr(old, "bias", None) is not None:
        new.get_parameter("bias").copy_(carried(old.get_parameter("bias").detach(), 0, makes))


def _carry_low_rank(old: nn.Module, new: LowRank, record: LinearRecord) -> None:
    weight, _ = _weight(old)
    branches = record.after[1] // record.before[1]
    branch, reduce = factored(weight.flatten(1), new.rank)
    target = new.branch.get_parameter("weight")
    target.copy_(branch.repeat(branches, 1).view(target.shape))
    target = new.reduce.get_parameter("weight")
    target.copy_(reduce.view(target.shape))
    if record.bias:
        new.branch.get_parameter("bias").copy_(old.get_parameter("bias").repeat(branches))


def _carry_channelwise(old: nn.Module, new: nn.Module, record: ChannelwiseRecord, axes: Mapping[str, Axis]) -> None:
    units = axes[record.site].units if record.site is not None else torch.arange(record.before)
    index = units.repeat(record.branches)
    targets = dict([*new.named_parameters(recurse=False), *new.named_buffers(recurse=False)])
    for name, values in [*old.named_parameters(recurse=False), *old.named_buffers(recurse=False)]:
        channels = next((d for d, size in enumerate(values.shape) if size == record.before), None)
        moved = values if channels is None else values.index_select(channels, index.to(values.device))
        targets[name].copy_(moved)


def _carry_experts(old: nn.Module, new: nn.Module, record: ExpertsRecord) -> None:
    expand, project = (
        old.get_parameter(name).detach().transpose(1, 2 if record.transposed else 1)
        for name in (record.expand, record.project)
    )
    before, after = record.hidden
    made = []
    for rows, columns in zip(expand, project, strict=True):
        units = repeated(before, after)
        if after < before:
            units = strongest(rows.view(-1, before, record.fan_in).transpose(0, 1), columns.T, after)
        axis = Axis(units, before, record.branches, record.half)
        made.append((carried(rows, 0, axis), summed(columns, 1, Axis(units, before))))
    for name, parts in zip((record.expand, record.project), zip(*made, strict=True), strict=True):
        stacked = torch.stack(parts)
        new.get_parameter(name).copy_(stacked.transpose(1, 2) if record.transposed else stacked)
