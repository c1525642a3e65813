"""Packed experts in a recipe: their budget, which all share, and the record of their new shapes."""

from __future__ import annotations

from rewriter.packed_experts import PackedExperts
from rewriter.recipe.schema import ExpertsRecord
from rewriter.recipe.widths import Chain, Feed


def experts_shape(packed: PackedExperts, branches: int, *, freed: int, coefficients: int) -> Chain:
    """Describe E experts as as many chains of one MLP, which share the functions; see `Chain` for the last two."""
    return Chain(
        fan_in=packed.fan_in,
        hidden=(packed.hidden,),
        feeds=((Feed(before=1 + packed.gated, after=branches + packed.gated, bias=False),),),
        fan_out=packed.fan_out,
        freed=freed,
        coefficients=coefficients,
        copies=packed.experts,
    )


def experts_record(path: str, packed: PackedExperts, branches: int, hidden: int) -> ExpertsRecord:
    """Record that the experts at a path get ``hidden`` units each, made by as many branches."""
    return ExpertsRecord(
        path=path,
        expand=packed.expand,
        project=packed.project,
        transposed=packed.transposed,
        half=packed.half,
        experts=packed.experts,
        fan_in=packed.fan_in,
        hidden=(packed.hidden, hidden),
        fan_out=packed.fan_out,
        branches=branches,
    )
