"""A recorder of what a model does on fake tensors: one graph, written as a symbolic trace writes it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from rewriter.tracing.calls import Call, Places, Run
from rewriter.tracing.fake import FakeRun, Layout
from rewriter.tracing.guards import decide
from rewriter.tracing.leaves import is_leaf
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.node_by_node import NodeByNode
from rewriter.tracing.overrides import as_overwritten, overwritten, spelled
from rewriter.tracing.trace import Trace, TracedGraph, Untraced
from rewriter.tracing.tracer import trace_children

_LAYERS = frozenset(
    {nn.Linear, nn.Conv1d, nn.Conv2d, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.AdaptiveAvgPool2d}
    | {nn.GELU, nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Tanh, nn.MaxPool2d, nn.AvgPool2d}
)
_CONSTANTS = (bool, int, float, complex, str, torch.dtype, torch.device, torch.layout, slice, type(None), type(...))


class Recorder:
    """Records one run of a model.

    Every call that Python code makes on tensors is recorded in its own words, as is every call of a leaf module. What
    runs where Python does not see it (scripted functions) is recorded, when asked for, as the ATen operations that it
    consists of, so that no use of a value is missing.

    Args:
        model: the model.
        opaque: classes whose code is not run, with reasons: a tensor like the first floating-point argument stands for
            what they return, so that the run shows where that value goes.
        see_operations: also record what Python does not see.
        unknown_sizes: go on where a size depends on values.

    Attributes:
        failed: the innermost module whose code raised the error that ended the run.
        missed: whether a tensor turned up that no recorded call made.
    """

    def __init__(
        self, model: nn.Module, opaque: dict[type[nn.Module], str], *, see_operations: bool, unknown_sizes: bool
    ) -> None:
        self.failed: nn.Module | None = None
        self.missed = False
        self._model, self._opaque = model, opaque
        self._see_operations, self._unknown_sizes = see_operations, unknown_sizes
        self._names = ModuleNames(model)
        self._traced = TracedGraph("", fx.Graph(), {})
        self._untraced: dict[str, Untraced] = {}
        self._nodes: dict[int, fx.Node] = {}
        self._overwritten: dict[int, fx.Node] = {}
        self._kept: list[Any] = []  # so that no other tensor takes the id of one that is known
        self._runs: list[Run] = []
        self._in_call = False
        self._layouts: dict[tuple[Any, ...], Layout] = {}
        self._places = Places(__file__)
        self._leaves = {module for module in model.modules() if is_leaf(module)}
        self._fake: FakeRun

    def run(self, example_inputs: Any) -> None:
        """Run the model; whatever its code raises is raised."""
        with (
            FakeRun(self._model, example_inputs, unknown_sizes=self._unknown_sizes) as self._fake,
            ExitStack() as stack,
        ):
            for module in self._model.modules():
                vars(module)["forward"] = _ModuleStub(self, module)
            if self._see_operations:
                stack.enter_context(_Operations(self))
            stack.enter_context(_Functions(self))
            try:
                self._fake()
            finally:
                self._nodes.clear()
                self._kept.clear()
                self._places = Places(__file__)

    def trace(self) -> Trace:
        """Give what was recorded."""
        untraced = list(self._untraced.values())
        for path in self._untraced:
            self._traced.opaque[path] = trace_children(self._names, path, untraced)
        return Trace(self._model, self._names, (self._traced,), tuple(untraced), recorded=True)

    def called(self, module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Carry out one call of a module: as one call of the graph, or by its own code, whose calls are recorded."""
        if self._in_call:
            return forward(*args, **kwargs)
        caller = self._runs[-1] if self._runs else None
        if caller is None:
            return self._own_code(Run("", module), forward, args, kwargs)
        path, alone = self._names.called_as(module, caller)
        plain = len(args) == 1 and not kwargs
        call = Call(caller, caller.calls, self._places.here(), module, path, alone, plain, caller.graph_node)
        caller.calls += 1
        if type(module) in self._opaque:
            self._untraced.setdefault(path, Untraced(path, type(module).__name__, self._opaque[type(module)]))
            return self._leaf(call, _stands_for_result, args, kwargs)
        if module in self._leaves:
            return self._leaf(call, forward, args, kwargs)
        return self._own_code(Run(path, module, call), forward, args, kwargs)

    def _own_code(self, run: Run, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        if run.call is None:
            self._add_inputs(args, kwargs)
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        run.entered = tuple(self._as_node(value) for value in given)
        self._traced.runs.append(run)
        self._runs.append(run)
        try:
            if isinstance(run.module, fx.GraphModule):
                forward = NodeByNode(run).run_as_called
            result = forward(*args, **kwargs)
        except Exception:
            self.failed = self.failed or run.module
            raise
        finally:
            self._runs.pop()
        if isinstance(result, Tensor):
            run.left = self._as_node(result)
        if run.call is None:
            self._traced.graph.output(self._as_nodes(result))
        return result

    def _leaf(self, call: Call, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        nodes = self._as_nodes(args), self._as_nodes(kwargs)
        result = self._uninterrupted(self._result, (call.module, forward, args, kwargs), {})
        if any(result is value for value in args) and not getattr(call.module, "inplace", False):
            return result  # a dropout, as it is in eval mode: what it gives is what it got
        node = self._traced.graph.create_node("call_module", str(call.path), *nodes)
        self._traced.calls[node] = call
        return self._returned(node, result, args, kwargs, args[0] if args and result is args[0] else None)

    def _result(self, module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Run a leaf, or make a tensor like the one that an equal layer gave for an equal input."""
        known = len(args) == 1 and not kwargs and isinstance(args[0], FakeTensor) and forward is not _stands_for_result
        if not known or type(module) not in _LAYERS or self._unknown_sizes:
            return forward(*args, **kwargs)
        given, weight = args[0], getattr(module, "weight", None)
        key = (type(module), module.extra_repr(), *_layout(given), weight.dtype if weight is not None else None)
        if key not in self._layouts:
            result = forward(*args, **kwargs)
            if type(result) is FakeTensor and result is not given:
                self._layouts[key] = _layout(result)
            return result
        return self._fake.like(self._layouts[key])

    def made(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out one call and record it, unless another call that is recorded makes it."""
        if self._in_call or not self._runs:
            return function(*args, **kwargs)
        if function is Tensor.__bool__ and (node := self._nodes.get(id(args[0]))) is not None:
            answer = decide(node, None)
            if answer is not None:
                return answer
        # Overwriting changes what the arguments stand for, so they are looked up before.
        nodes = self._as_nodes(args), self._as_nodes(kwargs)
        result = self._uninterrupted(function, args, kwargs)
        target = overwritten(function, args, kwargs)
        if not any(isinstance(value, Tensor) for value in (target, *_leaves(result))):
            return result
        if target is None and any(result is value for value in args):
            return result  # what it gives is what it got
        run = self._runs[-1]
        kind, written, positional = spelled(function, nodes[0])
        node = self._traced.graph.create_node(kind, written, positional, nodes[1])
        self._traced.calls[node] = Call(run, run.calls, self._places.here(), graph_node=run.graph_node)
        run.calls += 1
        return self._returned(node, result, args, kwargs, target)

    def _uninterrupted(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        self._in_call = True
        try:
            return function(*args, **kwargs)
        finally:
            self._in_call = False

    def _returned(self, node: fx.Node, result: Any, args: Any, kwargs: Any, target: Any = None) -> Any:
        """Let a node stand for what its call returned; a tensor that came in gets a second object for what it is now.

        Who holds the old object and reads it later is thereby told from who reads the result.
        """
        if isinstance(result, Tensor):
            if result is target:
                old = result
                result = self._uninterrupted(_alias, (old,), {})
                self._overwritten[id(old)] = node
            self._nodes[id(result)] = node
            node.meta["shape"] = result.shape
        elif isinstance(result, tuple | list):
            for index, item in enumerate(result):
                tensors = [leaf for leaf in tree_leaves(item) if isinstance(leaf, Tensor)]
                if tensors:
                    picked = self._traced.graph.call_function(operator.getitem, (node, index))
                    for tensor in tensors:
                        self._keep(tensor, picked)
        else:
            for leaf in _tensors_in(result):
                self._keep(leaf, node)
            if isinstance(target, Tensor):
                self._nodes[id(target)] = node
        self._kept.append(result)
        for value in _leaves(result):
            if isinstance(value, FakeTensor):
                self._fake.note(value)
        return result

    def _keep(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[id(tensor)] = node
        self._kept.append(tensor)

    def _add_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = {f"args_{number}": value for number, value in enumerate(args)} | kwargs
        for name, value in named.items():
            for leaf in _tensors_in(value):
                self._keep(leaf, self._traced.graph.placeholder(name))

    def _as_nodes(self, values: Any) -> Any:
        if type(values) is tuple and not any(isinstance(value, tuple | list | dict) for value in values):
            return tuple(map(self._as_node, values))
        return tree_map(self._as_node, values)

    def _as_node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            if isinstance(value, _CONSTANTS):
                return value
            inside = _tensors_in(value)  # an object of a class of its own reads what it holds
            return tuple(map(self._as_node, inside)) if inside else repr(type(value))
        if (overwriting := self._overwritten.pop(id(value), None)) is not None:
            self._nodes[id(value)] = self._traced.graph.call_function(as_overwritten, (overwriting,))
        if id(value) not in self._nodes:
            self._keep(value, self._unknown(value))
        return self._nodes[id(value)]

    def _unknown(self, value: Tensor) -> fx.Node:
        paths = self._fake.weights.get(id(value), [])
        if paths or not isinstance(value, FakeTensor):
            node = self._traced.graph.create_node("get_attr", (paths or ["a constant"])[0])
            if not paths:
                node.meta["value"] = value
            return node
        self.missed = True
        return self._traced.graph.placeholder("a value from elsewhere")


class _ModuleStub:
    """Stands in the place of a module's ``forward``, the one that runs."""

    def __init__(self, recorder: Recorder, module: nn.Module) -> None:
        self._recorder, self._module, self._forward = recorder, module, module.forward
        functools.update_wrapper(self, module.forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._recorder.called(self._module, self._forward, args, kwargs)


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


def _layout(value: Tensor) -> Layout:
    return value.size(), value.stride(), value.dtype, value.device


def _alias(value: Tensor) -> Tensor:
    return value.view_as(value)


def _leaves(result: Any) -> Any:
    return (result,) if isinstance(result, Tensor) else tree_leaves(result)


def _tensors_in(value: Any) -> list[Tensor]:
    found = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    if not found and hasattr(value, "__dict__") and not isinstance(value, type | nn.Module):
        found = [leaf for leaf in tree_leaves(list(vars(value).values())) if isinstance(leaf, Tensor)]
    return found


def _stands_for_result(*args: Any, **kwargs: Any) -> Tensor:
    given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    like = next((value for value in given if value.is_floating_point()), None)
    if like is None:
        raise TypeError("it takes no floating-point tensor")
    return torch.empty_like(like)
