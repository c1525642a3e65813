"""Where the function of a site stands in a rewritten model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rewriter.errors import UsageError
from rewriter.recipe import SiteRecord
from rewriter.sites import match
from rewriter.surgery.calls import other_code
from rewriter.surgery.packed_gate import PackedGate
from rewriter.tracing import trace


def placed_function(model: nn.Module, site: SiteRecord) -> nn.Module:
    """Return the module that a recipe put at a site.

    Args:
        model: the rewritten model.
        site: of the recipe that it was rewritten by.

    Raises:
        UsageError: the model is not the one that the recipe made.
    """
    try:
        producer = model.get_submodule(site.producer)
        if isinstance(producer, PackedGate):
            return producer.function
        return model.get_submodule(placed(model, site))
    except AttributeError as error:
        raise UsageError(
            expected=f"a rewritten model with the function of {site.path}",
            found=f"a {type(model).__name__} without it",
            remedy="pass the model and the recipe of one rewrite, and no wrapper around the model",
        ) from error


def with_code(model: nn.Module, sites: Sequence[SiteRecord]) -> list[SiteRecord]:
    """Give the sites of a recipe with the places of their calls, which a recipe of format 1 only counts.

    Raises:
        UsageError: the model has no such call.
    """
    if all(site.module is not None or site.code is not None for site in sites):
        return list(sites)
    found = {(site.address.owner, site.address.call): site for site in match(trace(model), in_code=True).sites}
    complete: list[SiteRecord] = []
    for site in sites:
        if site.module is None and site.code is None:
            known = found.get((site.owner, site.call))
            if (
                known is None
                or known.address.code is None
                or known.activation.name != site.activation.partition("(")[0]
            ):
                raise other_code(site.owner, f"no {site.activation} as its call {site.call}")
            name = _name_of_format_1(site)
            while hasattr(model.get_submodule(site.owner), name):
                name += "_"
            code = known.address.code.model_copy(update={"name": name})
            site = site.model_copy(update={"code": code})
        complete.append(site)
    return complete


def placed(model: nn.Module, site: SiteRecord) -> str:
    """Give the path of the function that a recipe put at a site of a model."""
    if site.module is not None:
        return site.module
    if site.code is not None:
        turn = f".{site.address.turn}" if site.address.turn is not None else ""
        return f"{site.owner}.{site.code.name}{turn}".removeprefix(".")
    owner, name = model.get_submodule(site.owner), _name_of_format_1(site)
    while hasattr(owner, f"{name}_"):
        name += "_"
    return f"{site.owner}.{name}".removeprefix(".")


def _name_of_format_1(site: SiteRecord) -> str:
    return f"{site.activation.partition('(')[0]}_{site.call}"
