"""SA: alternate a decomposition with its split adversarial function by depth (NA paper; the method, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue
from torch import nn

from passes.hdfgd import HDFGD, MLPS, HDFGDConfig, SplitSettings, place_split, split_of, unsplittable, with_fewest_terms
from passes.layers import SplitAdversarial
from rewriter.methods import Method, MethodConfig, Placement
from rewriter.sites import Site
from rewriter.sites.site import Kind

Combine = Literal["sum", "structure"]


class SAConfig(HDFGDConfig):
    """Options of SA, besides those of HD-FGD.

    Attributes:
        alpha: the lift α of the adversarial branches.
        combine: sum the adversarial terms (the paper's definition), or combine them as the decomposition does.
    """

    alpha: Annotated[float, Field(ge=0)] = 1.0
    combine: Combine = "sum"


class AdversarialSettings(SplitSettings):
    """What makes a split adversarial function again."""

    alpha: float
    combine: Combine


class SA(Method[SAConfig]):
    """F at the MLPs of the last depth, A before it, and so on in turn."""

    name: ClassVar[str] = "sa"
    summary: ClassVar[str] = "decomposition and its split adversarial function, alternating by depth"
    config: ClassVar[type[MethodConfig]] = SAConfig
    kinds: ClassVar[frozenset[Kind]] = MLPS
    resizes: ClassVar[bool] = True

    def splits_lone(self, config: SAConfig) -> bool:
        """Want lone activations when the option asks for them."""
        return config.low_rank

    def warmed(self, config: SAConfig) -> SAConfig:
        """Choose the fewest terms."""
        return with_fewest_terms(config)

    def refuse(self, site: Site, config: SAConfig) -> str | None:
        """Refuse as HD-FGD does; a function that cannot be split as asked, or an α too small, is the user's error."""
        if (reason := unsplittable(site, config)) is None:
            split_of(site, config).adversarial(config.alpha, config.combine, config.clamp)
        return reason

    def place(self, site: Site, rank: int, config: SAConfig) -> Placement:
        """Put F at even ranks, counted from the last depth, and A at odd ones."""
        if rank % 2 == 0:
            return place_split(site, config)
        found = split_of(site, config)
        settings = AdversarialSettings(
            **SplitSettings.fields_of(found, config), alpha=config.alpha, combine=config.combine
        )
        return Placement(function=f"A[{found.name}]", branches=found.terms, settings=settings.model_dump())

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make F or A over packed branches."""
        if not is_adversarial(settings):
            return HDFGD().build(settings, channels_dim)
        own = AdversarialSettings.model_validate(settings)
        return SplitAdversarial(own.find(), dim=channels_dim, alpha=own.alpha, combine=own.combine, clamp=own.clamp)


def is_adversarial(settings: Mapping[str, JsonValue]) -> bool:
    """Return whether a placement's settings are those of a split adversarial function, rather than of F."""
    return settings.keys() == AdversarialSettings.model_fields.keys()
