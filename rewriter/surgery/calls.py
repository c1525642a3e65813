"""Calls of activations in modules' own code and in the graphs of GraphModules: new functions in their place."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from rewriter.errors import UsageError
from rewriter.sites.call_in_code import CallInCode, CallInGraph
from rewriter.sites.site import ActivationAddress
from rewriter.surgery.edits import Edit
from rewriter.surgery.source import method_with, rewrite_methods
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.source import Method


@dataclass
class EditedCalls:
    """The calls of one module that get new functions, not yet carried out.

    Attributes:
        owner: the module.
        methods: the edits of each of its methods.
        graph: for a GraphModule, the nodes that give way.
        functions: the new functions by the name of the attribute, those of a loop by their turns.
    """

    owner: nn.Module
    methods: dict[Method, list[Edit]] = field(default_factory=lambda: defaultdict(list))
    graph: list[CallInGraph] = field(default_factory=list)
    functions: dict[str, dict[int | None, nn.Module]] = field(default_factory=lambda: defaultdict(dict))

    def carry_out(self) -> Callable[[], None]:
        """Change the module's code and add the functions; what is returned undoes it."""
        owner, kind = self.owner, type(self.owner)
        attributes, modules = dict(vars(owner)), dict(owner._modules)
        old_graph = copy.deepcopy(owner.graph) if self.graph and isinstance(owner, fx.GraphModule) else None

        def undo() -> None:
            object.__setattr__(owner, "__class__", kind)
            vars(owner).clear()
            vars(owner).update(attributes)
            owner._modules.clear()
            owner._modules.update(modules)
            if old_graph is not None and isinstance(owner, fx.GraphModule):
                owner.graph = old_graph

        try:
            self._change()
        except BaseException:
            undo()
            raise
        return undo

    def _change(self) -> None:
        if self.methods:
            rewrite_methods(self.owner, self.methods)
        for name, functions in self.functions.items():
            in_turn = [functions[turn] for turn in sorted(turn for turn in functions if turn is not None)]
            self.owner.add_module(name, nn.ModuleList(in_turn) if in_turn else functions[None])
        if isinstance(self.owner, fx.GraphModule):
            for call in self.graph:
                _replace_in_graph(self.owner.graph, call)
            self.owner.recompile()


def edited_calls(names: ModuleNames, functions: Mapping[ActivationAddress, nn.Module]) -> list[EditedCalls]:
    """Plan how the calls of activations in modules' own code are replaced; nothing is changed.

    Args:
        names: the names of the model's modules.
        functions: what is called in the place of each; at a module or an attribute of their own they are passed over.

    Raises:
        UsageError: the code is not what it was when it was traced.
    """
    edited: dict[str, EditedCalls] = {}
    loops: dict[object, dict[int, str]] = defaultdict(dict)
    for address in functions:
        if address.turn is not None and address.code is not None:
            loops[address.loop][address.turn] = address.code.name
    for address, function in functions.items():
        if address.module is not None:
            continue
        owner = names.modules[address.owner]
        calls = edited.setdefault(address.owner, EditedCalls(owner))
        code = address.code
        if code is not None and hasattr(owner, code.name):
            raise other_code(address.owner, f"an attribute {code.name} of its own")
        if isinstance(code, CallInGraph) and isinstance(owner, fx.GraphModule):
            known = {node.name for node in owner.graph.nodes}
            if not {code.node, code.operand} <= known:
                raise other_code(address.owner, f"a graph without {code.node}")
            calls.graph.append(code)
            calls.functions[code.name][None] = function
        elif isinstance(code, CallInCode):
            turns = loops.get(address.loop, {})
            if turns.keys() != {*range(len(turns))}:
                raise other_code(address.owner, f"a loop of which only some turns have a function {code.name}")
            own_names = tuple(turns[turn] for turn in sorted(turns)) if len({*turns.values()}) > 1 else ()
            name = own_names[0] if own_names else code.name
            edit = Edit(name, code.expression, code.operand, code.assigned, bool(turns), own_names)
            method = method_with(type(owner), code.method, code.digest, owner)
            known_method = next((one for one in calls.methods if one.function is method.function), method)
            if edit not in calls.methods[known_method]:
                calls.methods[known_method].append(edit)
            calls.functions[code.name][None if own_names else code.turn] = function
        else:
            raise other_code(address.owner, type(owner).__name__)
    return list(edited.values())


def _replace_in_graph(graph: fx.Graph, call: CallInGraph) -> None:
    nodes: dict[str, fx.Node] = {node.name: node for node in graph.nodes}
    old, operand = nodes[call.node], nodes[call.operand]
    with graph.inserting_before(old):
        new = graph.call_module(call.name, (operand,))
    old.replace_all_uses_with(new)
    waiting = [old]
    for node in waiting:  # what computed it and nothing else
        if not node.users and node is not operand and node.op != "placeholder":
            before: list[Any] = list(node.all_input_nodes)
            graph.erase_node(node)
            waiting += [value for value in before if value not in waiting]


def other_code(owner: str, found: str) -> UsageError:
    """Make the error for a module whose code is not what it was."""
    return UsageError(
        expected=f"the code that the recipe was made for in {owner or 'the model'}",
        found=found,
        remedy="apply the recipe to the model it was made for",
    )
