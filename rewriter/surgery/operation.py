"""The operation: first everything new is made, then it is put in place."""

from __future__ import annotations

from torch import fx, nn

from rewriter.counting import count_parameters
from rewriter.errors import UsageError
from rewriter.recipe import LinearRecord, Recipe
from rewriter.surgery.block import rewritten_block
from rewriter.surgery.functions import site_function
from rewriter.surgery.graphs import EditedCode, edited_code
from rewriter.surgery.linears import resized_linear
from rewriter.surgery.packed_gate import PackedGate
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.torch_layers import close_fast_path


def operate(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Rewrite ``model`` in place as ``recipe`` says.

    Nothing is changed until every new module has been made. Submodules are replaced in the model's own tree; only
    where an activation is a call in a module's own code does a graph replace that module.

    Returns:
        The model; a new object only when the code of the model itself had to be replaced by a graph.

    Raises:
        UsageError: the recipe was made for another model.
    """
    found = count_parameters(model)
    if found != recipe.parameters_before:
        raise UsageError(
            expected=f"a model of {recipe.parameters_before} parameters",
            found=str(found),
            remedy="apply the recipe to the model it was made for",
        )
    names = ModuleNames(model)
    linears = {record.path: resized_linear(names, record, recipe.seed) for record in recipe.linears}
    functions = {site.path: site_function(names, site, recipe.method) for site in recipe.sites}
    for record in recipe.linears:
        if record.half is not None:
            _pack_gate(recipe, record, linears, functions)
    edited = edited_code(model, recipe.sites, functions)

    for path, linear in linears.items():
        for alias in names.paths(names.modules[path]):
            _put(model, alias, linear)
    for site in recipe.sites:
        if site.module is not None:
            _put(model, site.module, functions[site.path])
    for owner, code in edited.items():
        model = _put_code(model, names, owner, code)
    return model


def _pack_gate(
    recipe: Recipe, record: LinearRecord, linears: dict[str, nn.Module], functions: dict[str, nn.Module]
) -> None:
    linear = linears[record.path]
    site = next(site for site in recipe.sites if site.producer == record.path)
    assert isinstance(linear, nn.Linear)
    assert record.half is not None
    gate = PackedGate(linear, functions[site.path], site.placement.branches, record.half)
    linears[record.path] = gate.train(linear.training)
    functions[site.path] = nn.Identity().train(linear.training)


def _put_code(model: nn.Module, names: ModuleNames, owner: str, code: EditedCode) -> nn.Module:
    old = names.modules[owner]
    code.carry_out(old)
    if isinstance(old, fx.GraphModule):
        old.recompile()
        return model
    block = rewritten_block(old, code.graph)
    if not owner:
        return block
    for alias in names.paths(old):
        _put(model, alias, block)
    return model


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    holder = model.get_submodule(parent)
    setattr(holder, name, module)
    close_fast_path(holder)
