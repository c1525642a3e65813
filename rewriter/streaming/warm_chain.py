"""New layers that take over the weights of those in their place, one chain of sites at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from rewriter.recipe import ChannelwiseRecord, ExpertsRecord, LinearRecord, Recipe
from rewriter.streaming.new_modules import NewModule, ResizedModule, ResizedRecord, put_at
from rewriter.warm.layers import carry


@dataclass(frozen=True)
class WarmChain(NewModule):
    """The layers of one chain of sites; which units they keep is chosen from the weights of all of them.

    Attributes:
        recipe: what is done, of this chain alone.
        layers: its layers, with all old tensors as their values.
    """

    recipe: Recipe
    layers: tuple[ResizedModule, ...]

    def tensors(self) -> dict[str, Tensor]:
        """Make the tensors of all layers, by their names in the model."""
        old, new = nn.Module(), nn.Module()
        for layer in self.layers:
            put_at(old, layer.record.path, layer.loaded())
            put_at(new, layer.record.path, layer.empty())
        carry(old, new, self.recipe, {})
        return new.state_dict()


def chains_of(recipe: Recipe, layers: Iterable[ResizedModule]) -> list[WarmChain]:
    """Group resized layers by the chains of sites that they belong to."""
    chain = {site.path: site.chain for site in recipe.sites}
    for site in recipe.sites:
        for path in (site.producer, site.partner, site.consumer):
            chain.setdefault(f"layer {path}", site.chain)
    groups: dict[str, list[ResizedModule]] = {}
    for layer in layers:
        groups.setdefault(_chain(layer.record, chain), []).append(layer)
    return [WarmChain(_part(recipe, name, group), tuple(group)) for name, group in groups.items()]


def _chain(record: ResizedRecord, chain: dict[str, str]) -> str:
    site = getattr(record, "site", None)
    if site in chain:
        return chain[site]
    return chain.get(f"layer {record.path}", record.path)


def _part(recipe: Recipe, chain: str, layers: Iterable[ResizedModule]) -> Recipe:
    records = [layer.record for layer in layers]
    return recipe.model_copy(
        update={
            "sites": tuple(site for site in recipe.sites if site.chain == chain),
            "linears": tuple(record for record in records if isinstance(record, LinearRecord)),
            "channelwise": tuple(record for record in records if isinstance(record, ChannelwiseRecord)),
            "experts": tuple(record for record in records if isinstance(record, ExpertsRecord)),
        }
    )
