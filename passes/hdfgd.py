"""HD-FGD: split an MLP's activation into parallel branches (NA paper; the method, section 2)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import nn

from passes.functions import Decomposition, decomposition_for
from passes.layers import SplitActivation
from passes.selection import Selection, mlp_obstacle, selected
from rewriter.errors import UsageError
from rewriter.methods import Method, MethodConfig, Placement
from rewriter.sites import Site


class HDFGDConfig(MethodConfig):
    """Options of HD-FGD.

    Attributes:
        activation: the function to split at all sites; None splits what each site has.
        terms: number of branches; None for the most that the function's decompositions have.
        clamp: bound on the inputs of decompositions that grow exponentially.
    """

    activation: str | None = None
    terms: Annotated[int, Field(gt=1)] | None = None
    clamp: Annotated[float, Field(gt=0)] = 4.0


class SplitSettings(BaseModel):
    """What makes a split activation again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decomposition: str
    clamp: float


class HDFGD(Method[HDFGDConfig]):
    """A decomposition F at every MLP, its branches packed into one linear of the same parameter budget."""

    name: ClassVar[str] = "hdfgd"
    summary: ClassVar[str] = "high-dimensional function graph decomposition of every MLP"
    config: ClassVar[type[MethodConfig]] = HDFGDConfig

    def refuse(self, site: Site, config: HDFGDConfig) -> str | None:
        """Refuse what is not an MLP or cannot be split; a named function that cannot be split is the user's error."""
        return refuse_split(site, config)

    def place(self, site: Site, rank: int, config: HDFGDConfig) -> Placement:
        """Put F there, whatever the depth."""
        return place_split(site, config)

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make F over packed branches."""
        own = SplitSettings.model_validate(settings)
        return SplitActivation(own.decomposition, dim=channels_dim, clamp=own.clamp)


def refuse_split(site: Site, config: HDFGDConfig) -> str | None:
    """Say why a site's activation is not split, or None.

    Raises:
        UsageError: the function asked for has no decomposition, or a function none with as many terms.
    """
    chosen = selected(site, config.activation)
    obstacle = mlp_obstacle(site)
    if obstacle is not None or isinstance(chosen, str):
        return obstacle or str(chosen)
    if config.activation is None and not _has_decomposition(chosen.name):
        return f"{chosen.name} has no decomposition; name an activation to put in its place"
    split_of(site, config)
    return None


def _has_decomposition(name: str) -> bool:
    try:
        decomposition_for(name)
    except UsageError:
        return False
    return True


def split_of(site: Site, config: HDFGDConfig) -> Decomposition:
    """Give the decomposition for a site that was not refused."""
    chosen = selected(site, config.activation)
    assert isinstance(chosen, Selection)
    return decomposition_for(chosen.name, config.terms)


def place_split(site: Site, config: HDFGDConfig) -> Placement:
    """Put the decomposition F at a site."""
    found = split_of(site, config)
    settings = SplitSettings(decomposition=found.name, clamp=config.clamp)
    return Placement(function=found.name, branches=found.terms, settings=settings.model_dump())
