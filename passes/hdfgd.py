"""HD-FGD: split an MLP's activation into parallel branches (NA paper; the method, section 2)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import nn

from passes.functions import Decomposition, decomposition, decomposition_for
from passes.functions.library import is_expression, splits_of
from passes.layers import SplitActivation
from passes.selection import Selection, selected
from rewriter.errors import UsageError
from rewriter.methods import Method, MethodConfig, Placement
from rewriter.sites import Site
from rewriter.sites.site import Kind

MLPS: frozenset[Kind] = frozenset({"mlp", "gated"})


class HDFGDConfig(MethodConfig):
    """Options of HD-FGD.

    Attributes:
        activation: the function to split at all sites; None splits what each site has.
        decomposition: a name of the library, or an expression such as ``"x1*sigmoid(x2)"`` of the activation; None
            takes the library's decomposition of the activation.
        terms: number of branches; None for the most that the function's decompositions have.
        clamp: bound on the inputs of decompositions that overflow.
    """

    activation: str | None = None
    decomposition: str | None = None
    terms: Annotated[int, Field(gt=1)] | None = None
    clamp: Annotated[float, Field(gt=0)] = 4.0


class SplitSettings(BaseModel):
    """What makes a split activation again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decomposition: str
    of: str
    parameters: dict[str, float]
    clamp: float

    @classmethod
    def fields_of(cls, found: Decomposition, config: HDFGDConfig) -> dict[str, Any]:
        """Return what records a decomposition."""
        return {
            "decomposition": found.name,
            "of": found.of,
            "parameters": dict(found.parameters),
            "clamp": config.clamp,
        }

    def find(self) -> Decomposition:
        """Return the decomposition again."""
        return decomposition(self.decomposition, self.of, **self.parameters)


class HDFGD(Method[HDFGDConfig]):
    """A decomposition F at every MLP, its branches packed into one linear of the same parameter budget."""

    name: ClassVar[str] = "hdfgd"
    summary: ClassVar[str] = "high-dimensional function graph decomposition of every MLP"
    config: ClassVar[type[MethodConfig]] = HDFGDConfig
    kinds: ClassVar[frozenset[Kind]] = MLPS
    resizes: ClassVar[bool] = True

    def refuse(self, site: Site, config: HDFGDConfig) -> str | None:
        """Refuse what cannot be split; a named function that cannot be split is the user's error."""
        return refuse_split(site, config)

    def place(self, site: Site, rank: int, config: HDFGDConfig) -> Placement:
        """Put F there, whatever the depth."""
        return place_split(site, config)

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make F over packed branches."""
        own = SplitSettings.model_validate(settings)
        return SplitActivation(own.find(), dim=channels_dim, clamp=own.clamp)


def refuse_split(site: Site, config: HDFGDConfig) -> str | None:
    """Say why a site's activation is not split, or None.

    Raises:
        UsageError: the function asked for has no decomposition, or none with as many terms; or the decomposition asked
            for is unknown, outside the grammar, undefined somewhere, or not of that function.
    """
    found = _found(site, config)
    return found if isinstance(found, str) else None


def split_of(site: Site, config: HDFGDConfig) -> Decomposition:
    """Give the decomposition for a site that was not refused."""
    found = _found(site, config)
    assert isinstance(found, Decomposition)
    return found


def place_split(site: Site, config: HDFGDConfig) -> Placement:
    """Put the decomposition F at a site."""
    found = split_of(site, config)
    settings = SplitSettings(**SplitSettings.fields_of(found, config))
    return Placement(function=found.name, branches=found.terms, settings=settings.model_dump())


def _found(site: Site, config: HDFGDConfig) -> Decomposition | str:
    """Give the decomposition for a site, or the reason why there is none."""
    chosen = selected(site, config.activation)
    if config.decomposition is not None:
        return _asked(config.decomposition, site, config, chosen)
    if config.activation is None and not splits_of(chosen.name):
        return f"{chosen.name} has no decomposition; name an activation to put in its place"
    return decomposition_for(chosen.name, config.terms, **chosen.parameters)


def _asked(text: str, site: Site, config: HDFGDConfig, chosen: Selection) -> Decomposition:
    if not is_expression(text):
        found = decomposition(text, config.activation)
        if config.activation is None and site.activation.name == found.of:
            found = decomposition(text, **site.activation.parameters)
    else:
        found = decomposition(text, chosen.name, **chosen.parameters)
    if config.terms not in (None, found.terms):
        raise UsageError(
            expected=f"terms = {found.terms} for {text}", found=f"terms = {config.terms}", remedy="leave terms out"
        )
    return found
