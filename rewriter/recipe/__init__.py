"""Plan: from sites to a recipe, the data that says what a rewrite does."""

from rewriter.recipe.options import RewriteOptions, Width, split_options
from rewriter.recipe.planning import draft
from rewriter.recipe.provenance import ResultRecord, SourceRecord
from rewriter.recipe.schema import (
    ChannelwiseRecord,
    ExpertsRecord,
    LinearRecord,
    MissRecord,
    Recipe,
    SiteRecord,
)

__all__ = [
    "ChannelwiseRecord",
    "ExpertsRecord",
    "LinearRecord",
    "MissRecord",
    "Recipe",
    "ResultRecord",
    "RewriteOptions",
    "SiteRecord",
    "SourceRecord",
    "Width",
    "draft",
    "split_options",
]
