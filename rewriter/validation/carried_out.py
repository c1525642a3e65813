"""A plan carried out with the functions and the weights that a model has."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rewriter.layouts import layout_of
from rewriter.recipe import LinearRecord, Recipe, SiteRecord
from rewriter.sites import Site
from rewriter.surgery.copies import copied
from rewriter.surgery.operation import operate
from rewriter.validation.exact_recipe import kept_units
from rewriter.warm.carrying import Axis, carried
from rewriter.warm.layers import carry


class SameFunction(nn.Module):
    """The function that a site had, of packed branches that are all alike: of each in turn, channel by channel.

    Args:
        function: what the site computed.
        branches: n; the input has ``n·h`` channels, the output h.
        dim: the dimension of the channels.
    """

    def __init__(self, function: nn.Module, branches: int, dim: int) -> None:
        super().__init__()
        self.function, self.branches, self.dim = function, branches, dim

    def forward(self, packed: Tensor) -> Tensor:
        """Compute it; every branch is read."""
        if self.branches > 1:
            parts = torch.stack(packed.chunk(self.branches, self.dim))
            shape = [1] * parts.ndim
            shape[self.dim % packed.ndim + 1] = -1
            units = parts.shape[self.dim % packed.ndim + 1]
            turns = torch.arange(units, device=packed.device) % self.branches
            packed = parts.gather(0, turns.view(shape).expand(1, *parts.shape[1:]))[0]
        return self.function(packed)  # type: ignore[no-any-return]


def carried_out(
    model: nn.Module, plan: Recipe, recipe: Recipe, sites: Mapping[str, Site]
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Rewrite a copy of a model with its own functions and weights.

    Args:
        model: the model; it is not changed.
        plan: the plan.
        recipe: the same with widths that hold the old weights.
        sites: of the model, by path.

    Returns:
        The copy, and the functions in it by the names that `name_of_function` gives.
    """
    made = copied(model)
    functions = {site.path: _same_function(model, site, sites[site.path]) for site in recipe.sites}
    operate(made, recipe, functions)
    split = {record.path for record in plan.linears if record.rank is not None}
    whole = [record for record in recipe.linears if record.path in split and record.rank is None]
    others = tuple(record for record in recipe.linears if record not in whole)
    carry(model, made, recipe.model_copy(update={"linears": others}), kept_units(recipe))
    for record in whole:
        _repeat(model.get_submodule(record.path), made.get_submodule(record.path), record)
    return made, {name_of_function(site): functions[site.path] for site in recipe.sites}


def name_of_function(site: SiteRecord) -> str:
    """Give the name of a site's function, which is no module's path."""
    return f"function of {site.path}"


def _same_function(model: nn.Module, record: SiteRecord, site: Site) -> nn.Module:
    inside = str(record.module)  # of packed experts
    function = site.original() if site.original is not None else copied(model.get_submodule(inside))
    device = next(model.parameters()).device
    same = SameFunction(function, record.placement.branches, record.channels_dim).to(device)
    return same.train(model.get_submodule(record.producer).training)


def _repeat(old: nn.Module, new: nn.Module, record: LinearRecord) -> None:
    """Give all branches of a lone layer the old weights."""
    layout = layout_of(old)
    assert layout is not None
    axis = Axis(torch.arange(record.before[1]), record.before[1], record.after[1] // record.before[1])
    with torch.no_grad():
        for name, dim in (("weight", layout.units_dim), ("bias", 0)):
            if isinstance(values := getattr(old, name, None), Tensor):
                new.get_parameter(name).copy_(carried(values.detach(), dim, axis))
