"""Addresses: how a recipe names the one call of an activation that it means."""

from __future__ import annotations

import copy
import dis
import os
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Final

import torch
from torch import fx, nn

from rewriter.sites.call_in_code import CallInGraph
from rewriter.sites.code import SourceReader
from rewriter.sites.recognition import sample_points
from rewriter.sites.region import Region
from rewriter.sites.regions import Regions
from rewriter.sites.site import ActivationAddress
from rewriter.sites.ways import Candidate, Ways
from rewriter.tracing import Trace, TracedGraph
from rewriter.tracing.calls import Call, Place, Run
from rewriter.tracing.hooks import would_lose_hooks
from rewriter.tracing.source import Method, method_of


class Addresses:
    """Finds the addresses of the activations of one graph.

    Args:
        trace: the traced model.
        traced: one graph of it.
        regions: the activations of the graph.
        names: given out so far to new attributes, by the path of the module and what they stand for.
    """

    def __init__(
        self, trace: Trace, traced: TracedGraph, regions: Regions, names: dict[tuple[str, object], str]
    ) -> None:
        self._trace, self._traced, self._regions, self._given = trace, traced, regions, names
        self._parts = {node for region in regions.by_exit.values() for node in region.nodes}
        self._at_place: dict[tuple[Run, int, int], set[fx.Node]] = defaultdict(set)
        self._callers: dict[str, set[tuple[str, object]]] = defaultdict(set)
        self._readers: dict[tuple[Run, int], SourceReader] = {}
        self._in_scope: dict[tuple[Run, int], list[tuple[fx.Node, Place]]] = defaultdict(list)
        self._turns: dict[tuple[fx.Node, Run, int], object] = {}
        self._inside: dict[tuple[fx.Node, Run, int], frozenset[CodeType]] = {}
        for node, call in traced.calls.items():
            self._note(node, call)
        for call in (*traced.calls.values(), *(run.call for run in traced.runs if run.call is not None)):
            if call.path is not None:
                place = (call.places[0].code, call.places[0].instruction) if call.places else call.graph_node
                self._callers[call.path].add((self.canonical(call.owner), place or call.index))

    def of(self, region: Region, *, in_code: bool = False) -> Ways:
        """Give the ways to replace an activation; with ``in_code`` those that leave attributes of modules alone."""
        modules: list[Candidate] = []
        call = self._traced.calls[region.exit]
        run = call.run
        if len(region.nodes) > 1 or call.module is None:
            while not all(self._traced.calls[node].run.within(run) for node in region.nodes):
                assert run.call is not None
                run = run.call.run
        elif (module := self._module(call)) is not None:
            modules.append(Candidate(module))
        runs = [run]
        while run.call is not None and run.left is region.exit and set(run.entered) == {region.entry}:
            if (module := self._module(run.call)) is not None and self._is_a_function(run.module, region):
                modules.insert(0, Candidate(module))
            run = run.call.run
            runs.append(run)
        modules = [] if in_code else modules

        def look() -> list[Candidate | str]:
            ways = [way for one in runs for way in self._in_code(one, region)]
            return [w for w in ways if not in_code or isinstance(w, str) or w.address.module is None]

        return Ways(self.canonical(call.owner), modules, look)

    def canonical(self, owner: str) -> str:
        """Give the first path of the module at a path."""
        return self._trace.names.paths(self._trace.names.modules[owner])[0]

    def shown(self, node: fx.Node) -> str:
        """Give a path to show for a call that has no address."""
        call = self._traced.calls[node]
        if call.path is not None and len(self._callers[call.path]) == 1:
            return call.path
        return f"{self.canonical(call.owner) or '(model)'}:{call.index}"

    def _note(self, node: fx.Node, call: Call) -> None:
        run: Run | None = call.run
        places = call.places
        inside: object = node
        codes: frozenset[CodeType] = frozenset()
        while run is not None:
            for place in places:
                self._at_place[run, place.activation, place.instruction].add(node)
                self._in_scope[run, place.activation].append((node, place))
                self._turns[node, run, place.activation] = inside
                self._inside[node, run, place.activation] = codes
                inside, codes = place.activation, codes | {place.code}
            places, inside = run.call.places if run.call is not None else (), run
            run = run.call.run if run.call is not None else None

    def _module(self, call: Call) -> ActivationAddress | None:
        """Give the address of an activation whose module only this call reaches under its name."""
        inside = not call.owner or str(call.path).startswith(f"{call.owner}.")
        if not call.alone or not call.plain or not inside or call.path is None:
            return None  # another module takes one value, and names it in its own way
        if id(call.module) in self._trace.names.held:
            return None
        owner = self.canonical(call.owner)
        path = f"{owner}.{call.path.removeprefix(f'{call.owner}.')}" if owner else call.path
        return ActivationAddress(owner, call.index, path)

    def _is_a_function(self, module: nn.Module, region: Region) -> bool:
        """Say whether a module computes what the trace saw in both modes, and keeps no state."""
        if any(True for _ in module.parameters()) or would_lose_hooks(module):
            return False
        try:
            own = copy.deepcopy(module).to(device="cpu")
            expected = self._regions.function(region).to(device="cpu")
            for training in (True, False):
                before = dict(vars(own.train(training)))
                points = sample_points().float()
                with torch.no_grad(), torch.random.fork_rng(devices=[]):
                    if not torch.equal(own(points.clone()), expected(points)) or vars(own) != before:
                        return False
        except Exception:  # a user's code may raise anything
            return False
        return True

    def _in_code(self, run: Run, region: Region) -> Iterator[Candidate | str]:
        owner = self.canonical(run.path)
        if isinstance(run.module, fx.GraphModule):
            in_graph = self._in_graph(run, run.module, region)
            yield Candidate(in_graph) if in_graph else "its formula is spread over several graphs"
            return
        places, index = self._places(region.exit, run)
        whys: list[str] = []
        for place in places:
            method = method_of(run.module, place.code)
            if isinstance(method, str):
                whys += [] if place.code.co_filename.startswith(_TORCH) else [f"it is called where {method}"]
                continue
            others = self._at_place[run, place.activation, place.instruction] - self._shown_at(run, place)
            if others or any(self._others(node, run, place) for node in region.nodes):
                whys.append(f"{place.code.co_qualname} computes more than the activation in one place")
                continue
            if not all(self._in_same_code(node, run, place) for node in region.nodes):
                whys.append(f"its formula is spread over several functions in {place.code.co_qualname}")
                continue
            codes = {code for node in region.nodes for code in self._inside[node, run, place.activation]}
            if not all(map(_is_pure, codes)):
                whys.append("its function keeps state or depends on its train/eval mode")
                continue
            here = self._at_place[run, place.activation, place.instruction]
            turns = {self._turns[node, run, place.activation] for node in region.nodes if node in here}
            reader = self._reader(run, place, method)
            found = reader.read(region, "formula", several=len(turns) > 1)
            if isinstance(found, str):
                whys.append(found)
                continue
            attribute = reader.attribute(region)
            if attribute is not None:
                path = f"{owner}.{attribute}" if owner else attribute
                yield Candidate(ActivationAddress(owner, index, path))
            name = self._name(run, region, (found.method, found.expression))
            address = ActivationAddress(owner, index, None, code=found.model_copy(update={"name": name}))
            yield Candidate(address, (run, place.activation) if reader.is_steady(region) else None)
        if whys or not places:
            yield whys[0] if whys else "the trace has not seen where it is called"

    def _in_graph(self, run: Run, module: fx.GraphModule, region: Region) -> ActivationAddress | None:
        calls = [self._traced.calls[node] for node in region.nodes]
        names = {call.graph_node for call in calls}
        if any(call.run is not run for call in calls) or None in names:
            return None
        nodes = [node for node in module.graph.nodes if node.name in names]
        entering = {value for node in nodes for value in node.all_input_nodes if value.name not in names}
        operands = [value for value in entering if value.op != "get_attr"]
        if len(operands) != 1:
            return None
        exit = str(calls[-1].graph_node)
        name = self._name(run, region, ("node", exit))
        code = CallInGraph(node=exit, operand=operands[0].name, name=name)
        return ActivationAddress(self.canonical(run.path), calls[-1].index, None, code=code)

    def _others(self, node: fx.Node, run: Run, scope: Place) -> set[fx.Node]:
        """Give what is computed at the place of a call, in one activation of code, and is no part of an activation."""
        places = [one for one in self._places(node, run)[0] if one.activation == scope.activation]
        here = {other for one in places for other in self._at_place[run, one.activation, one.instruction]}
        return {other for other in here if other not in self._parts and not self._regions.is_static(other)}

    def _shown_at(self, run: Run, place: Place) -> set[fx.Node]:
        """Give the calls of all activations that are computed at one place."""
        here = self._at_place[run, place.activation, place.instruction]
        exits = [region for exit, region in self._regions.by_exit.items() if exit in here]
        return {node for region in exits for node in region.nodes} | {n for n in here if self._regions.is_static(n)}

    def _places(self, node: fx.Node, run: Run) -> tuple[tuple[Place, ...], int]:
        """Give the places in the code of a run that a call was made from, and its position among the run's calls."""
        call = self._traced.calls[node]
        while call.run is not run:
            assert call.run.call is not None
            call = call.run.call
        return call.places, call.index

    def _in_same_code(self, node: fx.Node, run: Run, place: Place) -> bool:
        return any(one.activation == place.activation for one in self._places(node, run)[0])

    def _reader(self, run: Run, place: Place, method: Method) -> SourceReader:
        key = run, place.activation
        if key not in self._readers:
            nodes = [(node, one) for node, one in self._in_scope[key] if one.code is place.code]
            self._readers[key] = SourceReader(method, run.module, place.code, nodes)
        return self._readers[key]

    def _name(self, run: Run, region: Region, place: object) -> str:
        """Give the name of the attribute that a function will have in the module whose code calls it."""
        owner = self.canonical(run.path)
        if (owner, place) not in self._given:
            base = region.activation.name if region.activation.name.isidentifier() else "formula"
            taken = {name for (path, _), name in self._given.items() if path == owner}
            name, number = base, 1
            while name in taken or hasattr(run.module, name):
                number += 1
                name = f"{base}_{number}"
            self._given[owner, place] = name
        return self._given[owner, place]


_TORCH: Final = torch.__path__[0] + os.sep
_STORES: Final = frozenset({"STORE_ATTR", "STORE_SUBSCR", "STORE_GLOBAL", "DELETE_ATTR", "DELETE_SUBSCR"})


@lru_cache(maxsize=4096)
def _is_pure(code: CodeType) -> bool:
    """Say whether code neither sets anything but its variables nor asks for its mode, as far as its own words tell."""
    if code.co_filename.startswith(_TORCH):
        return True
    return "training" not in code.co_names and all(one.opname not in _STORES for one in dis.get_instructions(code))
