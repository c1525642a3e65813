"""The functions that come: a module for every site, in the dtype, on the device and in the mode of its neighbours."""

from __future__ import annotations

from torch import nn

from rewriter.errors import UsageError
from rewriter.methods import get_method
from rewriter.recipe import SiteRecord
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.spellings import Activation, activation_of_callable, activation_of_module


def site_function(names: ModuleNames, site: SiteRecord, method: str) -> nn.Module:
    """Make the module that a recipe puts at a site.

    Its parameters take the dtype of the layer that feeds the site; its buffers, which hold exact values, keep theirs.

    Raises:
        UsageError: the model has other layers at the site: the recipe was made for another one.
    """
    for path in (site.producer, site.owner):
        if path not in names.modules:
            raise UsageError(
                expected=f"a module {path}", found="none", remedy="apply the recipe to the model it was made for"
            )
    if site.module is not None and (found := str(_activation_at(names, site.module))) != site.activation:
        raise UsageError(
            expected=f"{site.activation} at {site.module}",
            found=found,
            remedy="apply the recipe to the model it was made for",
        )
    producer = names.modules[site.producer]
    weight = next(producer.parameters())  # a parametrized layer holds its weights in a child
    function = get_method(method).build(dict(site.placement.settings), site.channels_dim)
    function.to(device=weight.device)
    for parameter in function.parameters():
        parameter.data = parameter.data.to(dtype=weight.dtype)
    return function.train(producer.training)


def _activation_at(names: ModuleNames, path: str) -> Activation | None:
    if path in names.modules:
        return activation_of_module(names.modules[path])
    owner, _, attribute = path.rpartition(".")
    return activation_of_callable(getattr(names.modules.get(owner), attribute, None))
