"""The activation that a site had before the rewrite."""

from __future__ import annotations

from torch import nn

from passes.functions import activation
from rewriter.errors import UsageError
from rewriter.recipe import SiteRecord


def original_activation(site: SiteRecord) -> nn.Module | None:
    """Return the plain activation that a recipe records for a site, or None where no formula of it is known.

    The text is a name, a name with its parameters as in ``leaky_relu(negative_slope=0.2)``, or a formula.
    """
    name, parameters = site.activation, {}
    if "=" in site.activation:  # which no formula has
        name, _, given = site.activation.removesuffix(")").partition("(")
        pairs = (pair.partition("=") for pair in given.split(", "))
        parameters = {key: float(value) for key, _, value in pairs}
    try:
        return activation(name, **parameters)
    except UsageError:
        return None
