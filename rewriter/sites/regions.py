"""Regions: the elementwise functions of one value in a traced graph, each from the value to what others read."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn

from rewriter.sites.formulas import is_copy, is_elementwise, is_linear, makes_constants, name_of, scales
from rewriter.sites.region import Region, RegionFunction
from rewriter.sites.region_names import RegionNames, tensor_at
from rewriter.tracing import TracedGraph
from rewriter.tracing.overrides import as_overwritten, overwrites
from rewriter.tracing.spellings import Activation, activation_of_function, activation_of_module

_NO_VALUES = frozenset({"shape", "size", "dtype", "device", "ndim", "dim", "is_cuda", "layout", "numel", "stride"})


class Regions:
    """Finds the elementwise functions of one traced graph.

    Args:
        traced: the graph.
        model: the whole model, whose buffers formulas may read.
        known: functions recognised before, by their code; formulas recur from block to block.
    """

    def __init__(self, traced: TracedGraph, model: nn.Module, known: dict[str, Activation | str]) -> None:
        self._traced, self._model = traced, model
        self._names = RegionNames(self, traced, model, known)
        self._root: dict[fx.Node, fx.Node] = {}
        self._static: set[fx.Node] = set()
        for node in traced.graph.nodes:
            self._sort(node)
        self.by_exit: dict[fx.Node, Region] = {}
        for node in traced.graph.nodes:
            if self._is_glu(node):
                self.by_exit[node] = Region(
                    Activation("sigmoid"), node.all_input_nodes[0], node, (node,), True, glu=True
                )
        for node in self._root:
            if self._is_exit(node) and (region := self._region(node)) is not None:
                self.by_exit.setdefault(region.exit, region)

    def is_static(self, node: fx.Node) -> bool:
        """Say whether a value is computed from parameters, buffers and constants alone."""
        return node in self._static

    def is_varying(self, node: fx.Node) -> bool:
        """Say whether a value is an elementwise function of another one."""
        return node in self._root

    def activation_of(self, node: fx.Node) -> Activation | None:
        """Give the activation that one call computes by its name, or None."""
        call = self._traced.calls.get(node)
        if call is not None and call.module is not None:
            return activation_of_module(call.module)
        return activation_of_function(node) if node.op in ("call_function", "call_method") else None

    def _is_glu(self, node: fx.Node) -> bool:
        call = self._traced.calls.get(node)
        if call is None or len(node.all_input_nodes) != 1 or self.is_static(node):
            return False
        return type(call.module) is nn.GLU if call.module is not None else name_of(node) == "glu"

    def _sort(self, node: fx.Node) -> None:
        inputs = node.all_input_nodes
        call = self._traced.calls.get(node)
        by_itself = node.op == "call_function" and not inputs and makes_constants(node)
        followed = node.op in ("call_function", "call_method") or self.activation_of(node) is not None
        computed = bool(inputs) and followed
        shape = self._asks(node) or makes_constants(node)
        if node.op == "get_attr" or by_itself or shape or (computed and all(map(self.is_static, inputs))):
            self._static.add(node)
            return
        activation = self.activation_of(node)
        if activation is None and (call is None or not is_elementwise(node)):
            return
        if activation is not None and call is not None and call.module is not None and len(inputs) != 1:
            return
        if overwrites(node) and any(user.target is as_overwritten for user in node.users) and activation is None:
            return
        sources = {self._root.get(value, value) for value in inputs if value not in self._static}
        if len(sources) == 1:
            self._root[node] = sources.pop()

    def _asks(self, node: fx.Node) -> bool:
        """Say whether a node asks a tensor for something else than its values."""
        asked = node.args[1] if node.target is getattr and len(node.args) > 1 else node.target
        return node.op in ("call_function", "call_method") and isinstance(asked, str) and asked in _NO_VALUES

    def _is_exit(self, node: fx.Node) -> bool:
        users = [user for user in node.users if not self._asks(user) and not makes_constants(user)]
        return not users or any(self._root.get(user) is not self._root[node] for user in users)

    def _region(self, exit: fx.Node) -> Region | None:
        entry = self._nearest(exit)
        nodes = self._between(entry, exit)
        exit, nodes = self._without_copies(entry, exit, nodes)
        while len(nodes) > 1 and _keeps_values(nodes[0]) and self._only_enters(entry, nodes[0], nodes):
            entry, nodes = nodes[0], nodes[1:]
        known = [node for node in nodes if self.activation_of(node) is not None]
        if not known and all(is_linear(node) or self.rescales(node) for node in nodes):
            return None
        return self._named(entry, exit, nodes, named=bool(known))

    def _without_copies(
        self, entry: fx.Node, exit: fx.Node, nodes: tuple[fx.Node, ...]
    ) -> tuple[fx.Node, tuple[fx.Node, ...]]:
        while _keeps_values(exit) and len(nodes) > 1:
            exit = self._varying(exit)
            nodes = self._between(entry, exit)
        return exit, nodes

    def _named(self, entry: fx.Node, exit: fx.Node, nodes: tuple[fx.Node, ...], *, named: bool) -> Region:
        whole: Region | None = None
        for inside in self._without_scales(entry, exit, nodes):
            overwriting = any(map(self._overwrites, inside[2][:-1]))
            region = Region(Activation(""), inside[0], inside[1], inside[2], named, overwriting)
            found = self._names.of(region)
            if isinstance(found, Activation) and found.name.isidentifier():
                return replace(region, activation=found, named=True)
            if whole is None:
                text = found if isinstance(found, str) else None
                shown = found if isinstance(found, Activation) else Activation(self._names.shown(region))
                whole = replace(region, activation=shown, obstacle=text)
        assert whole is not None
        return whole

    def _without_scales(
        self, entry: fx.Node, exit: fx.Node, nodes: tuple[fx.Node, ...]
    ) -> Iterator[tuple[fx.Node, fx.Node, tuple[fx.Node, ...]]]:
        """Yield the whole, then what is left without scales by numbers behind it, and ahead of it."""
        yield entry, exit, nodes
        while len(nodes) > 1 and self.rescales(exit):
            exit = self._varying(exit)
            exit, nodes = self._without_copies(entry, exit, self._between(entry, exit))
            yield entry, exit, nodes
        while len(nodes) > 1 and self.rescales(nodes[0]) and self._only_enters(entry, nodes[0], nodes):
            entry, nodes = nodes[0], nodes[1:]
            yield entry, exit, nodes

    def _overwrites(self, node: fx.Node) -> bool:
        activation = self.activation_of(node)
        return overwrites(node) or (activation is not None and activation.inplace)

    def rescales(self, node: fx.Node) -> bool:
        """Say whether a node scales one value by a number, or scales or shifts it by what only parameters determine."""
        if scales(node):
            return True
        varying = [value for value in node.all_input_nodes if value not in self._static]
        if len(varying) != 1 or len(node.all_input_nodes) < 2 or len(node.args) != 2:
            return False
        return name_of(node) in ("mul", "add") or (name_of(node) in ("div", "sub") and node.args[0] is varying[0])

    def size_of(self, node: fx.Node) -> int | None:
        """Give the number of elements of a value that no input determines, where it is known."""
        if node.op == "get_attr":
            path = ".".join(filter(None, (self._traced.path, str(node.target))))
            value = node.meta.get("value", tensor_at(self._model, path))
            return value.numel() if isinstance(value, Tensor) else None
        sizes = [self.size_of(value) for value in node.all_input_nodes]
        return max(sizes) if is_elementwise(node) and sizes and None not in sizes else None  # type: ignore[type-var]

    def _varying(self, node: fx.Node) -> fx.Node:
        return next(value for value in node.all_input_nodes if value not in self._static)

    @staticmethod
    def _only_enters(entry: fx.Node, first: fx.Node, nodes: tuple[fx.Node, ...]) -> bool:
        return all(user is first or user not in nodes for user in entry.users)

    def _nearest(self, exit: fx.Node) -> fx.Node:
        """Give the nearest value that alone determines another: one that is read elsewhere, too, or the root."""
        root = self._root[exit]
        for node in reversed(self._between(root, exit)[:-1]):
            if self._is_exit(node) and not self._passes(node, root, exit):
                return node
        return root

    def _passes(self, blocked: fx.Node, root: fx.Node, exit: fx.Node) -> bool:
        """Say whether a value is computed from the root by a way around a node."""
        waiting, seen = [exit], {exit, blocked}
        for node in waiting:
            for value in node.all_input_nodes:
                if value is root:
                    return True
                if value in self._root and value not in seen:
                    seen.add(value)
                    waiting.append(value)
        return False

    def _between(self, entry: fx.Node, exit: fx.Node) -> tuple[fx.Node, ...]:
        found, waiting = {exit}, [exit]
        for node in waiting:
            for value in node.all_input_nodes:
                if value is not entry and value not in self._static and value not in found:
                    found.add(value)
                    waiting.append(value)
        return tuple(sorted(found))

    def function(self, region: Region) -> nn.Module:
        """Make a module that computes what a region computes, call by call as the model does; of a GLU its sigmoid."""
        if region.glu:
            return nn.Sigmoid()
        if len(region.nodes) == 1 and (module := self._module(region.exit)) is not None:
            return copy.deepcopy(module)
        return RegionFunction(region, self._traced, self._held(region), exact=True)

    def _held(self, region: Region) -> dict[fx.Node, Any]:
        """Give the model's own tensors from which a region's constants are computed."""
        held: dict[fx.Node, Any] = {}
        waiting = [value for node in region.nodes for value in node.all_input_nodes if value in self._static]
        for node in waiting:
            if node.op == "get_attr":
                path = ".".join(filter(None, (self._traced.path, str(node.target))))
                held[node] = node.meta.get("value", tensor_at(self._model, path))
            waiting += [value for value in node.all_input_nodes if value not in waiting]
        return held

    def _module(self, node: fx.Node) -> nn.Module | None:
        call = self._traced.calls.get(node)
        return call.module if call is not None else None


def _keeps_values(node: fx.Node) -> bool:
    """Say whether a node copies a value, or scales it by 1, which may be another number the next time."""
    return is_copy(node) or (scales(node) and any(value == 1 for value in node.args if isinstance(value, int | float)))
