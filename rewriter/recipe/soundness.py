"""Whether the records of a recipe fit together, so far as this can be told without the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewriter.recipe.schema import ChannelwiseRecord, ExpertsRecord, LinearRecord, Recipe


def require_sound(recipe: Recipe) -> None:
    """Check that the totals follow from the records, that no layer is resized twice, and that each has its site.

    A recipe may come from anywhere: what it makes must be no larger than what it says.

    Raises:
        ValueError: saying what does not fit.
    """
    grown = sum(site.parameters_after - site.parameters_before for site in recipe.sites)
    if recipe.parameters_after != recipe.parameters_before + grown:
        raise ValueError(f"parameters_after is not parameters_before and the {grown} of the sites")
    records: Sequence[LinearRecord | ChannelwiseRecord | ExpertsRecord] = (
        *recipe.linears,
        *recipe.channelwise,
        *recipe.experts,
    )
    if len({record.path for record in records}) != len(records):
        raise ValueError("a layer that is resized twice")
    if sum(record.parameters_after for record in records) > recipe.parameters_after:
        raise ValueError("layers with more parameters than parameters_after")
    widest = max((width for linear in recipe.linears for width in linear.after), default=0)
    if any(record.after > widest for record in recipe.channelwise):
        raise ValueError("a layer with more channels than the layers around it")
    modules = {site.producer for site in recipe.sites if site.module is not None}
    producers = {site.producer for site in recipe.sites}
    if any(record.path not in modules for record in recipe.experts):
        raise ValueError("packed experts without a site")
    if any(record.half is not None and record.path not in producers for record in recipe.linears):
        raise ValueError("a packed gate without a site")
