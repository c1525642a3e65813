"""Swap: put one activation in the place of all others, such as CRReLU (EAFO paper; the method, sections 4 and 5)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue
from torch import nn

from passes.functions import activation
from passes.functions.written_activation import activation_expression
from rewriter.methods import Method, MethodConfig, Placement
from rewriter.sites import Site


class SwapConfig(MethodConfig):
    """Options of swap.

    Attributes:
        activation: the function that every site gets, a name or a formula in ``x``.
    """

    activation: str = "crrelu"


class Swap(Method[SwapConfig]):
    """The same activation at every site fed by a linear, convolution or embedding."""

    name: ClassVar[str] = "swap"
    summary: ClassVar[str] = "one activation, CRReLU unless you name another, at every site"
    config: ClassVar[type[MethodConfig]] = SwapConfig

    def refuse(self, site: Site, config: SwapConfig) -> str | None:
        """Refuse sites that have the activation already."""
        activation_expression(config.activation, {})
        if site.activation.name == config.activation and not site.activation.parameters:
            return f"it is {config.activation} already"
        return None

    def place(self, site: Site, rank: int, config: SwapConfig) -> Placement:
        """Put the activation there, whatever the depth."""
        return Placement(function=config.activation, branches=1, settings={"name": config.activation})

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make the activation."""
        return activation(str(settings["name"]))
