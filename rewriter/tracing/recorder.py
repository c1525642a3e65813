"""A recorder of what untraceable code does to fake tensors: graphs in the words of a symbolic trace."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from rewriter.tracing.calls import Call, bound_arguments
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.overrides import attribute, overwritten, spelled
from rewriter.tracing.trace import TracedGraph

_CONSTANTS = (bool, int, float, complex, str, torch.dtype, torch.device, torch.layout, slice, type(None), type(...))


@dataclass
class _Graph:
    """One graph while it is recorded; tensors are kept, so that no other takes their ``id``."""

    path: str
    graph: fx.Graph = field(default_factory=fx.Graph)
    calls: dict[fx.Node, Call] = field(default_factory=dict)
    nodes: dict[int, fx.Node] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)


@dataclass
class _Running:
    """A module whose ``forward`` runs: inside a graph, as one call of a graph, or outside of all graphs."""

    module: nn.Module
    path: str
    role: Literal["inside", "leaf", "outside"]
    graph: _Graph | None
    arguments: tuple[Any, Any] = ((), {})
    calls: int = 0


class Recorder:
    """Records one run of a model.

    Every call that Python code makes on tensors is recorded in its own words, as is every call of a leaf module. What
    runs where Python does not see it (compiled functions) is recorded as the ATen operations it consists of, so no use
    of a value is missing from a graph.

    Args:
        names: the names of the model's modules.
        records: says whether the code of a module is to be recorded.
        is_leaf: says whether a module, called by recorded code, is one call of its graph.

    Attributes:
        graphs: for each recorded module that no other recorded code called, the graphs of its calls.
        inside: for each of them, the modules whose code is in these graphs.
    """

    def __init__(
        self,
        names: ModuleNames,
        records: Callable[[nn.Module], bool],
        is_leaf: Callable[[nn.Module], bool],
    ) -> None:
        self.graphs: dict[str, list[TracedGraph]] = {}
        self.inside: dict[str, set[nn.Module]] = defaultdict(set)
        self._names, self._records, self._is_leaf = names, records, is_leaf
        self._weights: Mapping[int, list[str]] = {}
        self._running: list[_Running] = []
        self._in_call = False

    def run(self, model: nn.Module, call: Callable[[], Any], weights: Mapping[int, list[str]]) -> None:
        """Run ``call`` and record what ``model`` does in it; the hooks that this adds stay on the modules.

        Args:
            model: the model.
            call: runs it.
            weights: the paths of its parameters and buffers by the ``id`` of the tensors that the run reads.
        """
        self._weights = weights
        for module in model.modules():
            module.register_forward_pre_hook(self._enter, with_kwargs=True)
            module.register_forward_hook(self._leave, with_kwargs=True)
        with ExitStack() as stack:
            stack.enter_context(_Operations(self))
            stack.enter_context(_Functions(self))
            call()

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], None]:
        """Give what makes the call of ``module`` that has just begun one call of its caller, its code unrecorded."""
        depth, top = len(self._running), self._running[-1]
        graph = top.graph
        if graph is None:
            return lambda: self._running.__delitem__(slice(depth, None))
        recorded, nodes, inside = len(graph.graph.nodes), dict(graph.nodes), set(self.inside[graph.path])

        def undo() -> None:
            del self._running[depth:]
            for node in reversed(list(graph.graph.nodes)[recorded:]):
                graph.graph.erase_node(node)
                graph.calls.pop(node, None)
            graph.nodes = nodes
            self.inside[graph.path] = inside - {module}
            if depth > 1 and self._running[-2].graph is graph:
                top.role, top.arguments = "leaf", (self._as_nodes(graph, args), self._as_nodes(graph, kwargs))
            else:
                top.role, top.graph = "outside", None

        return undo

    def made(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out one call and record it, unless another call that is recorded makes it."""
        top = self._running[-1] if self._running else None
        if self._in_call or top is None or top.graph is None or top.role != "inside":
            return function(*args, **kwargs)
        self._in_call = True
        try:
            # Overwriting changes what the arguments stand for, so they are looked up before.
            nodes = self._as_nodes(top.graph, args), self._as_nodes(top.graph, kwargs)
            result = function(*args, **kwargs)
            target = overwritten(function, args, kwargs)
            if any(isinstance(value, Tensor) for value in (target, *tree_leaves(result))):
                self._record(top, function, *nodes, result=result, target=target)
        finally:
            self._in_call = False
        return result

    def _record(self, top: _Running, function: Any, args: Any, kwargs: Any, *, result: Any, target: Any) -> None:
        assert top.graph is not None
        kind, written = spelled(function)
        read = attribute(function)
        node = top.graph.graph.create_node(kind, written, (*args[:1], read) if read else args, kwargs)
        top.graph.calls[node] = Call(top.path, top.calls)
        top.calls += 1
        self._stands_for(top.graph, node, result)
        if isinstance(target, Tensor):
            self._stands_for(top.graph, node, target)

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        top = self._running[-1] if self._running else None
        if top is not None and top.graph is not None and top.role == "inside":
            path, _ = self._names.called_as(module, top.path)
            if self._is_leaf(module):
                nodes = self._as_nodes(top.graph, args), self._as_nodes(top.graph, kwargs)
                self._running.append(_Running(module, path, "leaf", top.graph, nodes))
            else:
                top.calls += 1
                self.inside[top.graph.path].add(module)
                self._running.append(_Running(module, path, "inside", top.graph))
            return
        path = self._names.paths(module)[0]
        graph = _Graph(path) if self._records(module) else None
        if graph is not None:
            self.inside[path].add(module)
            self._add_inputs(graph, module, args, kwargs)
        self._running.append(_Running(module, path, "inside" if graph else "outside", graph))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        left = self._running.pop()
        if left.module is not module:
            raise RuntimeError("a module's call ended in an exception that other code caught")
        caller = self._running[-1] if self._running else None
        if left.role == "leaf":
            assert left.graph is not None
            assert caller is not None
            path, alone = self._names.called_as(module, caller.path)
            target = path.removeprefix(f"{left.graph.path}." if left.graph.path else "")
            node = left.graph.graph.create_node("call_module", target, *left.arguments)
            left.graph.calls[node] = Call(caller.path, caller.calls, module, path, alone)
            caller.calls += 1
            self._stands_for(left.graph, node, result)
        elif left.graph is not None and (caller is None or caller.graph is not left.graph):
            left.graph.graph.output(self._as_nodes(left.graph, result))
            traced = TracedGraph(left.path, left.graph.graph, left.graph.calls)
            self.graphs.setdefault(left.path, []).append(traced)

    def _add_inputs(self, graph: _Graph, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for name, value in bound_arguments(module, args, kwargs).items():
            if isinstance(value, Tensor):
                self._stands_for(graph, graph.graph.placeholder(name), value)

    def _stands_for(self, graph: _Graph, node: fx.Node, value: Any) -> None:
        graph.kept.append(value)
        if isinstance(value, Tensor):
            graph.nodes[id(value)] = node
        elif isinstance(value, tuple | list):
            for index, item in enumerate(value):
                tensors = [leaf for leaf in tree_leaves(item) if isinstance(leaf, Tensor)]
                if tensors:
                    picked = graph.graph.call_function(operator.getitem, (node, index))
                    for tensor in tensors:
                        graph.nodes[id(tensor)] = picked
        else:
            for leaf in tree_leaves(value):
                if isinstance(leaf, Tensor):
                    graph.nodes[id(leaf)] = node

    def _as_nodes(self, graph: _Graph, values: Any) -> Any:
        return tree_map(lambda value: self._as_node(graph, value), values)

    def _as_node(self, graph: _Graph, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value if isinstance(value, _CONSTANTS) else repr(type(value))
        if id(value) not in graph.nodes:
            graph.kept.append(value)
            graph.nodes[id(value)] = self._unknown(graph, value)
        return graph.nodes[id(value)]

    def _unknown(self, graph: _Graph, value: Tensor) -> fx.Node:
        paths = self._weights.get(id(value), [])
        prefix = f"{graph.path}." if graph.path else ""
        inside = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
        if paths or not isinstance(value, FakeTensor):
            return graph.graph.create_node("get_attr", (inside or paths or ["a constant"])[0])
        return graph.graph.placeholder("a value from elsewhere")


class _Functions(TorchFunctionMode):
    """Sees what Python code calls."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._recorder.made(func, args, kwargs or {})


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every ATen operation; those that a call seen by Python consists of are passed over."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._recorder.made(func, args, kwargs or {})
