"""Which activation a site gets: the one it has, or the one the user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from passes.functions.written_activation import activation_expression, activation_slope, is_name
from rewriter.errors import UsageError
from rewriter.sites import Site
from rewriter.tracing.spellings import Activation


@dataclass(frozen=True)
class Selection:
    """An activation: a name of the catalogue with its parameters, or a formula in ``x``."""

    name: str
    parameters: Mapping[str, float]

    @property
    def label(self) -> str:
        """The name with parameters that are not the defaults, as a recipe records it."""
        return str(Activation(self.name, self.parameters))


def selected(site: Site, asked: str | None) -> Selection:
    """Give the activation for a site.

    Args:
        site: the site, whose own activation is taken when nothing is asked for.
        asked: a canonical name, a formula in ``x``, or None.

    Raises:
        UsageError: ``asked`` is not in the catalogue, and no formula of the grammar that is defined everywhere.
    """
    if asked is not None:
        activation_expression(asked, {})
        return Selection(asked, {})
    return Selection(site.activation.name, site.activation.parameters)


def unknown(chosen: Selection) -> str | None:
    """Say why nothing can be derived from a function that a site has, which nobody chose; None where it can."""
    try:
        activation_slope(chosen.name, chosen.parameters)
    except UsageError as error:
        if is_name(chosen.name):
            return f"no formula of {chosen.name} is known: name another function with --activation"
        return f"expected {error.expected}; found {error.found}; name another function with --activation"
    return None
