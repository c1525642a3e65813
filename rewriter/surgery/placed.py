"""Where the function of a site stands in a rewritten model."""

from __future__ import annotations

from torch import nn

from rewriter.errors import UsageError
from rewriter.recipe import SiteRecord
from rewriter.surgery.packed_gate import PackedGate


def first_name(site: SiteRecord) -> str:
    """Return the name of a function that replaces a call in a module's own code, unless the name is taken."""
    return f"{site.activation.partition('(')[0]}_{site.call}"


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
        if site.module is not None:
            return model.get_submodule(site.module)
        owner, name = model.get_submodule(site.owner), first_name(site)
        while hasattr(owner, f"{name}_"):  # the last one that was free
            name += "_"
        return owner.get_submodule(name)
    except AttributeError as error:
        raise UsageError(
            expected=f"a rewritten model with the function of {site.path}",
            found=f"a {type(model).__name__} without it",
            remedy="pass the model and the recipe of one rewrite, and no wrapper around the model",
        ) from error
