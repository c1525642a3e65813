"""Which activation a site gets: the one it has, or the one the user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from passes.functions import activation_names
from rewriter.names import require_known
from rewriter.sites import Site


@dataclass(frozen=True)
class Selection:
    """An activation of the catalogue with its parameters."""

    name: str
    parameters: Mapping[str, float]

    @property
    def label(self) -> str:
        """The name with parameters that are not the defaults."""
        values = ", ".join(f"{key}={value:g}" for key, value in self.parameters.items())
        return f"{self.name}({values})" if values else self.name


def selected(site: Site, asked: str | None) -> Selection:
    """Give the activation for a site; the catalogue has all that matching knows.

    Args:
        site: the site, whose own activation is taken when nothing is asked for.
        asked: a canonical name, or None.

    Raises:
        UsageError: ``asked`` is not in the catalogue.
    """
    if asked is not None:
        return Selection(require_known(asked, activation_names(), "activation"), {})
    return Selection(site.activation.name, site.activation.parameters)
