"""The functions that come: a module for every site, in the dtype, on the device and in the mode of its neighbours."""

from __future__ import annotations

import math

import torch
from torch import nn

from rewriter.errors import RewriterError, UsageError
from rewriter.methods import get_method
from rewriter.recipe import SiteRecord
from rewriter.sites.foreign_layers import is_plain
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.spellings import Activation, activation_of_callable, activation_of_module
from rewriter.tracing.trace import reason


def site_function(names: ModuleNames, site: SiteRecord, method: str) -> nn.Module:
    """Make the module that a recipe puts at a site.

    Its parameters take the dtype of the layer that feeds the site (quantised weights have none to give); its buffers,
    which hold exact values, keep theirs.

    Raises:
        UsageError: the model has other layers at the site: the recipe was made for another one.
    """
    for path in (site.producer, site.owner):
        if path not in names.modules:
            raise UsageError(
                expected=f"a module {path}", found="none", remedy="apply the recipe to the model it was made for"
            )
    if site.module is not None and (found := _other_activation_at(names, site.module, site.activation)) is not None:
        raise UsageError(
            expected=f"{site.activation} at {site.module}",
            found=found,
            remedy="apply the recipe to the model it was made for",
        )
    producer = names.modules[site.producer]
    weights = list(producer.parameters())  # a parametrized layer holds its weights in a child
    dtype = next((weight.dtype for weight in weights if is_plain(weight)), torch.get_default_dtype())
    return new_function(site, method, dtype).to(device=weights[0].device).train(producer.training)


def new_function(site: SiteRecord, method: str, dtype: torch.dtype) -> nn.Module:
    """Make the module that a placement describes, on the CPU, with parameters of a dtype."""
    function = _built(site, method)
    for parameter in function.parameters():
        parameter.data = parameter.data.to(dtype=dtype)
    return function


def _built(site: SiteRecord, method: str) -> nn.Module:
    maker = get_method(method)
    try:
        with torch.device("cpu"):
            return maker.build(dict(site.placement.settings), site.channels_dim)
    except RewriterError:
        raise
    except Exception as error:  # a recipe may come from anywhere, and a method may be anybody's
        raise UsageError(
            expected=f"settings that the method {method!r} can make the function of {site.path} from",
            found=reason(error),
            remedy="write the recipe again with this version",
        ) from error


def _other_activation_at(names: ModuleNames, path: str, recorded: str) -> str | None:
    """Say what is at a path in the place of a recorded activation, or give None where it is that, or nothing known."""
    owner, _, attribute = path.rpartition(".")
    if path in names.modules:
        found = activation_of_module(names.modules[path])
    elif not callable(held := getattr(names.modules.get(owner), attribute, None)):
        return "nothing"
    else:
        found = activation_of_callable(held)
    return None if found is None or _is(found, recorded) else str(found)


def _is(found: Activation, recorded: str) -> bool:
    name, _, given = recorded.partition("(")
    values = [pair.partition("=") for pair in given.rstrip(")").split(", ") if pair]
    same = name == found.name and [key for key, _, _ in values] == list(found.parameters)
    # Recipes of format 1 have six digits.
    return same and all(math.isclose(float(v), found.parameters[k], rel_tol=1e-5) for k, _, v in values)
