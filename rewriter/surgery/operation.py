"""The operation: first everything new is made, then it is put in place, and linears get their values as they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from rewriter.counting import count_parameters
from rewriter.errors import UsageError
from rewriter.recipe import LinearRecord, Recipe
from rewriter.surgery.calls import edited_calls
from rewriter.surgery.channelwise import resized_channelwise
from rewriter.surgery.experts import resized_experts
from rewriter.surgery.functions import site_function
from rewriter.surgery.linears import fill_linear, hollow_linear
from rewriter.surgery.packed_gate import PackedGate, ProductOfHalves
from rewriter.surgery.placed import with_code
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.torch_layers import close_fast_path
from rewriter.tracing.trace import reason


@torch.inference_mode(False)
def operate(model: nn.Module, recipe: Recipe, given: Mapping[str, nn.Module] | None = None) -> nn.Module:
    """Rewrite ``model`` in place as ``recipe`` says.

    Nothing is changed until every new module has been made. The new linears get memory and values one by one as they
    are put in place, where the old ones go away, so both are never held as a whole. Submodules are replaced in the
    model's own tree; of a module whose own code calls an activation, the source of that one method is edited.

    Args:
        model: the model that the recipe was made for.
        recipe: what to do.
        given: by the paths of sites, functions to put there; None for those of the recipe's method.

    Returns:
        The model.

    Raises:
        UsageError: the recipe was made for another model, or a module of this one refuses to have a part replaced.
    """
    found = count_parameters(model)
    if found != recipe.parameters_before:
        raise UsageError(
            expected=f"a model of {recipe.parameters_before} parameters",
            found=str(found),
            remedy="apply the recipe to the model it was made for",
        )
    names = ModuleNames(model)
    linears = {record.path: hollow_linear(names, record) for record in recipe.linears}
    between = {r.path: resized_channelwise(names, r, recipe.seed) for r in recipe.channelwise}
    activations = {site.producer: str(site.module).rpartition(".")[2] for site in recipe.sites}
    experts = {r.path: resized_experts(names, r, activations[r.path], recipe.seed) for r in recipe.experts}
    functions = {
        site.path: site_function(names, site, recipe.method) if given is None else given[site.path]
        for site in recipe.sites
    }
    for record in recipe.linears:
        if record.half is not None:
            _pack_gate(recipe, record, linears, functions)
    edited = edited_calls(names, {site.address: functions[site.path] for site in with_code(model, recipe.sites)})
    replaced = [alias for path in (*linears, *between, *experts) for alias in names.paths(names.modules[path])]
    _require_replaceable(model, replaced + [site.module for site in recipe.sites if site.module is not None])

    owners = {names.modules[site.owner] for site in recipe.sites}
    undo: list[Callable[[], None]] = []
    try:
        for calls in edited:
            undo.append(calls.carry_out())
    except BaseException:
        for back in reversed(undo):
            back()
        raise
    undo.clear()  # it holds the old parts
    for record in recipe.linears:
        fill_linear(linears[record.path], names.modules[record.path], record, recipe.seed)
        _replace(model, names, record.path, linears[record.path])
    for path, new in {**between, **experts}.items():
        _replace(model, names, path, new)
    for site in recipe.sites:
        if site.module is not None:
            _put(model, site.module, functions[site.path])
    close_fast_path(model, owners)
    return model


def _require_replaceable(model: nn.Module, paths: list[str]) -> None:
    for path in paths:
        parent, _, name = path.rpartition(".")
        holder = model.get_submodule(parent)
        try:
            setattr(holder, name, getattr(holder, name))
        except Exception as error:  # a class may guard its attributes
            raise UsageError(
                expected=f"a {type(holder).__name__} whose {name} can be replaced",
                found=reason(error),
                remedy=f"lift the guard while rewriting, or exclude {path}",
            ) from error


def _pack_gate(
    recipe: Recipe, record: LinearRecord, linears: dict[str, nn.Module], functions: dict[str, nn.Module]
) -> None:
    linear = linears[record.path]
    site = next(site for site in recipe.sites if site.producer == record.path)
    assert record.half is not None
    if not isinstance(linear, nn.Linear):
        raise UsageError(
            expected=f"an nn.Linear with both factors of a gate at {record.path}",
            found=type(linear).__name__,
            remedy="apply the recipe to the model it was made for",
        )
    gate = PackedGate(linear, functions[site.path], site.placement.branches, record.half)
    linears[record.path] = gate.train(linear.training)
    functions[site.path] = (ProductOfHalves() if record.glu else nn.Identity()).train(linear.training)


def _replace(model: nn.Module, names: ModuleNames, path: str, new: nn.Module) -> None:
    for alias in names.paths(names.modules[path]):
        _put(model, alias, new)
        del names.modules[alias]  # it would keep the old weights


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    holder = model.get_submodule(parent)
    setattr(holder, name, module)
