"""HD-FGD: split an MLP's activation into parallel branches (NA paper; the method, section 2)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import nn

from passes.functions import Decomposition, decomposition, decomposition_for
from passes.functions.library import is_expression, splits_of
from passes.layers import SplitActivation
from passes.selection import Selection, selected, unknown
from rewriter.errors import UsageError
from rewriter.methods import Method, MethodConfig, Placement
from rewriter.sites import Site
from rewriter.sites.site import Kind

MLPS: frozenset[Kind] = frozenset({"mlp", "gated"})


class HDFGDConfig(MethodConfig):
    """Options of HD-FGD.

    Attributes:
        activation: the function to split at all sites, a name or a formula in ``x``; None splits what each site has.
        decomposition: a name of the library, or an expression such as ``"x1*sigmoid(x2)"`` of the activation; None
            takes the library's decomposition of the activation.
        terms: number of branches; None for the most that the function's decompositions have, and in a warm start for
            ``fewest``: the fewer branches, the more hidden units the same parameters make.
        clamp: bound on the inputs of decompositions that overflow.
        low_rank: also split lone activations, those of a linear or convolution without a second one behind: the
            branches then share a low-rank factor of that layer, as wide as the budget allows.
    """

    activation: str | None = None
    decomposition: str | None = None
    terms: Annotated[int, Field(gt=1)] | Literal["fewest"] | None = None
    clamp: Annotated[float, Field(gt=0)] = 4.0
    low_rank: bool = False


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

    def splits_lone(self, config: HDFGDConfig) -> bool:
        """Want lone activations when the option asks for them."""
        return config.low_rank

    def warmed(self, config: HDFGDConfig) -> HDFGDConfig:
        """Choose the fewest terms."""
        return with_fewest_terms(config)

    def refuse(self, site: Site, config: HDFGDConfig) -> str | None:
        """Refuse an MLP whose own function cannot be split; one that cannot be split as asked is the user's error."""
        if (reason := unsplittable(site, config)) is None:
            split_of(site, config)
        return reason

    def place(self, site: Site, rank: int, config: HDFGDConfig) -> Placement:
        """Put F there, whatever the depth."""
        return place_split(site, config)

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make F over packed branches."""
        own = SplitSettings.model_validate(settings)
        return SplitActivation(own.find(), dim=channels_dim, clamp=own.clamp)


Config = TypeVar("Config", bound=HDFGDConfig)


def with_fewest_terms(config: Config) -> Config:
    """Choose the fewest terms unless the user chose otherwise."""
    chosen = config.terms is not None or config.decomposition is not None
    return config if chosen else config.model_copy(update={"terms": "fewest"})


def unsplittable(site: Site, config: HDFGDConfig) -> str | None:
    """Say why the function that a site has, which nobody chose, cannot be split; None where it can."""
    chosen = selected(site, config.activation)
    if config.activation is not None or splits_of(chosen.name):
        return None
    if config.decomposition is None:
        return (
            f"no decomposition of {chosen.label} is known: "
            "name one with --decomposition, or another function with --activation"
        )
    return unknown(chosen) if is_expression(config.decomposition) else None


def split_of(site: Site, config: HDFGDConfig) -> Decomposition:
    """Give the decomposition for a site.

    Raises:
        UsageError: the function asked for has no decomposition, or none with as many terms; or the decomposition asked
            for is unknown, outside the grammar, undefined somewhere, or not of that function.
    """
    chosen = selected(site, config.activation)
    if config.decomposition is not None:
        return _asked(config.decomposition, site, config, chosen)
    terms = min(splits_of(chosen.name), default=None) if config.terms == "fewest" else config.terms
    return decomposition_for(chosen.name, terms, **chosen.parameters)


def place_split(site: Site, config: HDFGDConfig) -> Placement:
    """Put the decomposition F at a site."""
    found = split_of(site, config)
    settings = SplitSettings(**SplitSettings.fields_of(found, config))
    return Placement(function=found.name, branches=found.terms, settings=settings.model_dump())


def _asked(text: str, site: Site, config: HDFGDConfig, chosen: Selection) -> Decomposition:
    if not is_expression(text):
        found = decomposition(text, config.activation)
        if config.activation is None and site.activation.name == found.of:
            found = decomposition(text, **site.activation.parameters)
    else:
        found = decomposition(text, chosen.name, **chosen.parameters)
    if config.terms not in (None, "fewest", found.terms):
        raise UsageError(
            expected=f"terms = {found.terms} for {text}", found=f"terms = {config.terms}", remedy="leave terms out"
        )
    return found
