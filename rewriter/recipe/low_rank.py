"""Lone activations: how wide the low-rank factor may be that all branches of one layer share."""

from __future__ import annotations

from rewriter.layouts import features, taps
from rewriter.recipe.inner_layers import has_bias, inner_records, inner_shape
from rewriter.recipe.options import RewriteOptions
from rewriter.recipe.schema import ChannelwiseRecord, LinearRecord
from rewriter.sites.site import Lone


def low_rank(
    lone: Lone, branches: int, options: RewriteOptions, *, spare: int
) -> list[LinearRecord | ChannelwiseRecord] | str:
    """Split the layer of a lone activation: one factor of r values, and from them the packed branches.

    The output width stays what it is, so the rank r takes its place as the number that the budget decides:
    ``r = ⌊(D·H + bias) / (D + n·H)⌋``, less the branches' biases and the norms ahead of the activation, with the kernel
    size as a factor of D (the method, section 2). ``keep`` takes the full rank, a number sets it.

    Args:
        lone: the layer and the norms between it and the activation.
        branches: n.
        options: of the rewrite.
        spare: parameters of the activation that goes, less those of the function that comes.

    Returns:
        The new shapes, or why there are none.
    """
    (fan_in, units), bias, kernel = features(lone.layer), has_bias(lone.layer), taps(lone.layer)
    between = inner_shape(lone.inner, units, branches)
    full = min(fan_in * kernel, units)
    if options.width == "keep":
        rank = full
    elif isinstance(options.width, int):
        rank = options.width
    else:
        budget = units * (fan_in * kernel + bias + between.before) + spare
        budget -= units * (branches * bias + between.after)
        rank = min(budget // (fan_in * kernel + branches * units), full) // options.multiple * options.multiple
    if rank < 1:
        return f"the budget leaves a rank below {options.multiple} for {branches} branches of its layer"
    record = LinearRecord(
        path=lone.path, before=(fan_in, units), after=(fan_in, branches * units), bias=bias, taps=kernel, rank=rank
    )
    return [record, *inner_records(None, lone.inner, units, units, branches)]
