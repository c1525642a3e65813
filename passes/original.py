"""The activation that a site had before the rewrite."""

from __future__ import annotations

from torch import nn

from passes.functions import activation
from rewriter.recipe import SiteRecord


def original_activation(site: SiteRecord) -> nn.Module:
    """Return the plain activation that a recipe records for a site, with the parameters recorded there."""
    name, _, given = site.activation.partition("(")
    values = (pair.partition("=") for pair in given.rstrip(")").split(", ") if pair)
    return activation(name, **{key: float(value) for key, _, value in values})
