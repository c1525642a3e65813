"""Editing the code of modules whose activations no submodule replacement can reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx, nn

from rewriter.errors import UsageError
from rewriter.recipe import SiteRecord
from rewriter.surgery.placed import first_name
from rewriter.tracing import trace
from rewriter.tracing.own_forward import (
    NotRewritableError,
    activation_gate,
    activation_input,
    call_nodes,
    own_forward,
)
from rewriter.tracing.spellings import activation_of_function, activation_of_module


@dataclass(frozen=True)
class EditedCode:
    """The new code of one module, not yet carried out.

    Attributes:
        graph: the old code.
        replaced: the calls that go away, each with the name of the module that is called in its place.
        added: the new modules by name.
    """

    graph: fx.Graph
    replaced: dict[fx.Node, str]
    added: dict[str, nn.Module]

    def carry_out(self, owner: nn.Module) -> None:
        """Add the new modules to ``owner`` and let the graph call them."""
        for name, module in self.added.items():
            owner.add_module(name, module)
        for node, name in self.replaced.items():
            _replace_call(self.graph, node, name)


def edited_code(
    model: nn.Module, sites: Sequence[SiteRecord], functions: Mapping[str, nn.Module]
) -> dict[str, EditedCode]:
    """Replace activation calls in the own code of the modules that make them.

    Args:
        model: the whole model, not yet changed.
        sites: the sites of a recipe; those that a submodule replacement reaches are passed over.
        functions: the new module of each site, by the site's path.

    Returns:
        The new code by the path of its module; the graph of a GraphModule is its own, not a copy.

    Raises:
        UsageError: the code is not what it was when the recipe was made.
    """
    by_owner: dict[str, list[SiteRecord]] = defaultdict(list)
    for site in sites:
        if site.module is None:
            by_owner[site.owner].append(site)
    if not by_owner:
        return {}
    traced = trace(model)
    edited: dict[str, EditedCode] = {}
    for owner, owned in by_owner.items():
        try:
            graph = own_forward(traced, owner)
        except NotRewritableError as error:
            raise _other_code(owner, str(error)) from None
        calls = call_nodes(graph)
        if max(site.call for site in owned) >= len(calls):
            raise _other_code(owner, f"only {len(calls)} calls")
        module = traced.names.modules[owner]
        names = {site.path: added_name(module, site) for site in owned}
        for site in owned:
            found = _activation(module, calls[site.call])
            if found != site.activation:
                raise _other_code(owner, f"{found} in the place of {site.activation}")
        edited[owner] = EditedCode(
            graph,
            replaced={calls[site.call]: names[site.path] for site in owned},
            added={names[site.path]: functions[site.path] for site in owned},
        )
    return edited


def _activation(owner: nn.Module, node: fx.Node) -> str:
    if node.op == "call_module":
        return str(activation_of_module(owner.get_submodule(str(node.target))))
    return str(activation_of_function(node))


def _replace_call(graph: fx.Graph, node: fx.Node, name: str) -> None:
    gate = activation_gate(node)
    with graph.inserting_before(node):
        new = graph.call_module(name, (activation_input(node),))
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    if gate is not None:
        graph.erase_node(gate)


def added_name(module: nn.Module, site: SiteRecord) -> str:
    """Give the name of a site's new module in the module whose code will call it, before it is there."""
    name = first_name(site)
    while hasattr(module, name):
        name = f"{name}_"
    return name


def _other_code(owner: str, found: str) -> UsageError:
    return UsageError(
        expected=f"the code that the recipe was made for in {owner or 'the model'}",
        found=found,
        remedy="apply the recipe to the model it was made for",
    )
