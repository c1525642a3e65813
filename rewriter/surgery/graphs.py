"""Editing the code of modules whose activations no submodule replacement can reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx, nn

from rewriter.errors import UsageError
from rewriter.recipe import SiteRecord
from rewriter.tracing import trace
from rewriter.tracing.own_forward import NotRewritableError, call_nodes, own_forward


@dataclass(frozen=True)
class EditedCode:
    """The new code of one module: its graph, and the modules that the graph calls besides the old ones."""

    graph: fx.Graph
    added: dict[str, nn.Module]


def edited_code(
    model: nn.Module, sites: Sequence[SiteRecord], functions: Mapping[str, nn.Module]
) -> dict[str, EditedCode]:
    """Replace activation calls in the own code of the modules that make them.

    Args:
        model: the whole model, not yet changed.
        sites: the sites of a recipe; those that a submodule replacement reaches are passed over.
        functions: the new module of each site, by the site's path.

    Returns:
        The new code by the path of its module. A GraphModule's own graph is edited in place but not recompiled.

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
        added: dict[str, nn.Module] = {}
        for site in owned:
            name = _free_name(module, site)
            added[name] = functions[site.path]
            _replace_call(graph, calls[site.call], name)
        edited[owner] = EditedCode(graph, added)
    return edited


def _replace_call(graph: fx.Graph, node: fx.Node, name: str) -> None:
    gate = next((a for a in node.all_input_nodes if list(a.users) == [node] and len(node.all_input_nodes) == 2), None)
    value = gate.args[0] if gate is not None else node.args[0] if node.args else node.kwargs["input"]
    with graph.inserting_before(node):
        new = graph.call_module(name, (value,))
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    if gate is not None:
        graph.erase_node(gate)


def _free_name(module: nn.Module, site: SiteRecord) -> str:
    name = f"{site.activation.partition('(')[0]}_{site.call}"
    while hasattr(module, name):
        name = f"{name}_"
    return name


def _other_code(owner: str, found: str) -> UsageError:
    return UsageError(
        expected=f"the code that the recipe was made for in {owner or 'the model'}",
        found=found,
        remedy="apply the recipe to the model it was made for",
    )
