"""Plan: from sites to a recipe, the data that says what a rewrite does."""

from rewriter.recipe.options import RewriteOptions, Width, split_options
from rewriter.recipe.planning import draft
from rewriter.recipe.schema import LinearRecord, MissRecord, Recipe, SiteRecord, SourceRecord

__all__ = [
    "LinearRecord",
    "MissRecord",
    "Recipe",
    "RewriteOptions",
    "SiteRecord",
    "SourceRecord",
    "Width",
    "draft",
    "split_options",
]
