"""GA: alternate an activation with its global adversarial function by depth (NA paper; the method, section 1)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import nn

from passes.functions import activation, adversarial
from passes.layers import Lifted
from passes.selection import selected, unknown
from rewriter.methods import Method, MethodConfig, Placement
from rewriter.sites import Site


class GAConfig(MethodConfig):
    """Options of GA.

    Attributes:
        activation: the function f of all sites, a name or a formula in ``x``; None keeps what each site has.
        alpha: the lift α.
        lifted: put ``f(x) + αx`` at the sites of f, rather than plain f.
        clamp: bound on the inputs of g, where α = 0 makes it grow exponentially.
        trainable: train the lift of every g, from ``alpha`` on; only where g has a closed form.
    """

    activation: str | None = None
    alpha: Annotated[float, Field(ge=0)] = 1.0
    lifted: bool = True
    clamp: Annotated[float, Field(gt=0)] = 4.0
    trainable: bool = False


class GASettings(BaseModel):
    """What makes one function of a GA pair again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parameters: dict[str, float]
    adversarial: bool
    alpha: float
    lifted: bool
    clamp: float
    trainable: bool = False


class GA(Method[GAConfig]):
    """Every site fed by a linear, convolution or embedding: f at the last depth, g before it, and so on in turn."""

    name: ClassVar[str] = "ga"
    summary: ClassVar[str] = "activation and its global adversarial function, alternating by depth"
    config: ClassVar[type[MethodConfig]] = GAConfig

    def refuse(self, site: Site, config: GAConfig) -> str | None:
        """Refuse a site whose own function has no formula; an α too small for a function is the user's error."""
        chosen = selected(site, config.activation)
        if config.activation is None and (reason := unknown(chosen)):
            return reason
        adversarial(chosen.name, config.alpha, clamp=config.clamp, trainable=config.trainable, **chosen.parameters)
        return None

    def place(self, site: Site, rank: int, config: GAConfig) -> Placement:
        """Put f at even ranks, counted from the last depth, and g at odd ones."""
        chosen = selected(site, config.activation)
        odd = rank % 2 == 1
        lift = f" + {repr(config.alpha).removesuffix('.0')}x" if config.lifted and config.alpha else ""
        settings = GASettings(
            name=chosen.name,
            parameters=dict(chosen.parameters),
            adversarial=odd,
            alpha=config.alpha,
            lifted=config.lifted,
            clamp=config.clamp,
            trainable=odd and config.trainable,
        )
        label = f"g[{chosen.label}]" if odd else f"{chosen.label}{lift}"
        return Placement(function=label, branches=1, settings=settings.model_dump())

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make f, its lifted form, or g."""
        own = GASettings.model_validate(settings)
        if own.adversarial:
            return adversarial(own.name, own.alpha, clamp=own.clamp, trainable=own.trainable, **own.parameters)
        plain = activation(own.name, **own.parameters)
        return Lifted(plain, own.alpha) if own.lifted and own.alpha else plain
