"""EAFO: at each site the activation optimised for the distribution of its input (EAFO paper; the method, section 5)."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import nn

from passes.evaluation.symbols import x
from passes.functions import activation
from passes.functions.correction import correction, is_correctable
from passes.functions.density import Density, normal
from passes.functions.entropy import output_entropy, rank
from passes.functions.measured import Histogram, histogram
from passes.functions.program import compile_expression
from passes.functions.spline import Spline
from passes.functions.written_activation import activation_expression
from passes.layers.corrected import Corrected
from passes.selection import Selection, selected, unknown
from rewriter.methods import Method, MethodConfig, Placement
from rewriter.sites import Site

# What the paper corrects in models whose own activation has no inverse, such as GELU.
_FALLBACK = Selection("relu", {})


class EAFOConfig(MethodConfig):
    """Options of EAFO.

    Attributes:
        activation: the function to correct at all sites, a name or a formula in ``x``; None corrects what each site
            has, or ReLU where that has no inverse.
        strength: the trainable strength of the correction at the start.
    """

    activation: str | None = None
    strength: float = 0.01


class Gaussian(BaseModel):
    """The density of sites without calibration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["normal"] = "normal"
    mean: float = 0.0
    std: float = 1.0

    def density(self) -> Density:
        """Return it as a function."""
        return normal(self.mean, self.std)


AnyDensity = Annotated[Gaussian | Histogram, Field(discriminator="kind")]


class EAFOSettings(BaseModel):
    """What makes a corrected activation again, and what was found out about the site.

    Attributes:
        name: the function that is corrected.
        parameters: its parameters.
        strength: of the correction, at the start.
        density: of the values that enter the activation.
        entropy_before: of the output without the correction, in nats, where the function has an inverse.
        entropy_after: the same with the correction at its strength at the start.
        ranking: the entropy of the output of every activation of the catalogue, the lowest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parameters: dict[str, float]
    strength: float
    density: AnyDensity
    entropy_before: float
    entropy_after: float
    ranking: dict[str, float]


class EAFO(Method[EAFOConfig]):
    """At sites fed by a linear, convolution or embedding: the activation less a trainable share of its correction."""

    name: ClassVar[str] = "eafo"
    summary: ClassVar[str] = "the activation corrected for the input that each site has (--calibration)"
    config: ClassVar[type[MethodConfig]] = EAFOConfig
    observes: ClassVar[bool] = True

    def refuse(self, site: Site, config: EAFOConfig) -> str | None:
        """Refuse sites whose own function has no formula, and those without a usable input.

        An activation without an inverse is the user's error if asked for.
        """
        if config.activation is None and (reason := unknown(selected(site, None))):
            return reason
        chosen = corrected_at(site, config)
        correction(chosen.name, normal(), **chosen.parameters)
        if site.samples is None:
            return None
        if not site.samples.numel():
            return "the calibration inputs never reach it"
        return None if histogram(site.samples) else "what enters it is constant on the calibration inputs"

    def place(self, site: Site, rank: int, config: EAFOConfig) -> Placement:
        """Put the activation corrected for the site's own density there, whatever the depth."""
        chosen = corrected_at(site, config)
        measured = histogram(site.samples) if site.samples is not None else Gaussian()
        assert measured is not None
        density = _density(measured)
        before, after = _entropies(chosen, density, config.strength)
        settings = EAFOSettings(
            name=chosen.name,
            parameters=dict(chosen.parameters),
            strength=config.strength,
            density=measured,
            entropy_before=before,
            entropy_after=after,
            ranking=_ranking(measured),
        )
        return Placement(
            function=f"eafo[{chosen.label}] for {density.label}", branches=1, settings=settings.model_dump(mode="json")
        )

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make the corrected activation; its table is computed from the density in the settings."""
        own = EAFOSettings.model_validate(settings)
        density = _density(own.density)
        table = Spline(correction(own.name, density, **own.parameters), density.low, density.high)
        return Corrected(activation(own.name, **own.parameters), table, own.strength)


def corrected_at(site: Site, config: EAFOConfig) -> Selection:
    """Give the activation that is corrected at a site.

    Raises:
        UsageError: an activation that is neither in the catalogue nor a formula was asked for.
    """
    chosen = selected(site, config.activation)
    if config.activation is None and not is_correctable(chosen.name, **chosen.parameters):
        return _FALLBACK
    return chosen


@lru_cache(maxsize=8)
def _density(settings: Gaussian | Histogram) -> Density:
    return settings.density()


@lru_cache(maxsize=8)
def _ranking(settings: Gaussian | Histogram) -> dict[str, float]:
    return {name: round(entropy, 6) for name, entropy in rank(_density(settings))}


def _entropies(chosen: Selection, density: Density, strength: float) -> tuple[float, float]:
    """Return the output entropies without and with the correction, of the part of the input where f has an inverse."""
    f = compile_expression(activation_expression(chosen.name, chosen.parameters), (x,))
    kappa = correction(chosen.name, density, **chosen.parameters)
    before = output_entropy(f, density, where_rising=f)
    after = output_entropy(lambda u: f(u) - strength * kappa(u), density, where_rising=f)
    return round(before, 6), round(after, 6)
