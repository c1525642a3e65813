"""Symbolic traces, for a model without example inputs: as deep as its code can be followed for certain."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from rewriter.layouts import layout_of
from rewriter.tracing.calls import Call, Places, Run
from rewriter.tracing.guards import decide
from rewriter.tracing.hooks import untouched
from rewriter.tracing.leaves import is_leaf
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.node_by_node import NodeByNode
from rewriter.tracing.overrides import as_overwritten, overwrites
from rewriter.tracing.spellings import is_known_activation
from rewriter.tracing.torch_layers import without_fast_path
from rewriter.tracing.trace import Trace, TracedGraph, Untraced, reason
from rewriter.tracing.traced_value import TracedValue


def symbolic_trace(model: nn.Module) -> Trace:
    """Trace ``model`` symbolically, as deep as its code can be followed for certain.

    A submodule that cannot be traced becomes a leaf with its reason kept, and its children are traced in turn.
    Optional arguments of a traced ``forward`` keep their defaults; what the code does to its modules is undone. A
    GraphModule is taken as it is: every call in its graph belongs to the GraphModule itself.
    """
    names = ModuleNames(model)
    if isinstance(model, fx.GraphModule):
        return Trace(model, names, (_adopted(model),), ())
    untraced: list[Untraced] = []
    roots = _trace_module(names, "", untraced)
    return Trace(model, names, roots, tuple(untraced))


def trace_children(names: ModuleNames, path: str, untraced: list[Untraced]) -> tuple[TracedGraph, ...]:
    """Trace the children of a module that cannot be followed itself, in registration order.

    Args:
        names: the names of the model's modules.
        path: of the module.
        untraced: receives the modules inside that could not be traced, and why.
    """
    graphs: list[TracedGraph] = []
    for name, child in names.modules[path].named_children():
        child_path = f"{path}.{name}" if path else name
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            graphs.extend(trace_children(names, child_path, untraced))
        elif any(True for _ in child.children()) and not is_leaf(child):
            graphs.extend(_trace_module(names, child_path, untraced))
    return tuple(graphs)


def _trace_module(names: ModuleNames, path: str, untraced: list[Untraced]) -> tuple[TracedGraph, ...]:
    module = names.modules[path]
    try:
        with untouched(module), without_fast_path():
            tracer = _Tracer(names, path)  # whose buffers are copies meanwhile
            graph = tracer.trace(module)
    except Exception as error:  # a user's forward may raise anything when it is given proxies
        untraced.append(Untraced(path, type(module).__name__, reason(error)))
        return trace_children(names, path, untraced)
    opened = {str(call.path) for call in tracer.calls.values()} & tracer.untraced.keys()
    opaque: dict[str, tuple[TracedGraph, ...]] = {}
    for leaf in sorted(opened):
        untraced.append(Untraced(leaf, type(names.modules[leaf]).__name__, tracer.untraced[leaf]))
        opaque[leaf] = trace_children(names, leaf, untraced)
    return (TracedGraph(path, graph, tracer.calls, tracer.runs, opaque),)


def _adopted(module: fx.GraphModule) -> TracedGraph:
    run = Run("", module)
    calls: dict[fx.Node, Call] = {}
    for index, node in enumerate(n for n in module.graph.nodes if n.op.startswith("call_")):
        called = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        path = str(node.target) if called is not None else None
        plain = len(node.args) == 1 and not node.kwargs
        calls[node] = Call(run, index, (), called, path, plain=plain, graph_node=node.name)
    return TracedGraph("", module.graph, calls, [run])


class _TensorNames:
    def __init__(self, root: nn.Module) -> None:
        named = (*root.named_buffers(), *root.named_parameters())
        self._known = {id(tensor): (tensor, name) for name, tensor in named}

    def of(self, value: Any) -> str | None:
        """Give the name of a parameter or buffer of the traced module, or None for anything else."""
        tensor, name = self._known.get(id(value), (None, None))
        return name if tensor is value else None


class _Tracer(fx.Tracer):
    """Traces a module; a submodule whose ``forward`` cannot be traced becomes a leaf instead of an error.

    Args:
        names: the names of every module of the whole model.
        prefix: absolute path of the module to trace.

    Attributes:
        calls: for each node that is a call, who made it.
        runs: the runs of modules' own code.
        untraced: for each leaf that was meant to be opened, its absolute path and why it was not.
    """

    def __init__(self, names: ModuleNames, prefix: str) -> None:
        super().__init__()
        self.calls: dict[fx.Node, Call] = {}
        self.runs: list[Run] = []
        self.untraced: dict[str, str] = {}
        self._names, self._prefix = names, prefix
        self._running: list[Run] = []
        self._places = Places(__file__)
        self._parameter_proxies: dict[str, fx.Proxy] = {}
        self._overwritten: dict[fx.Node, fx.Node] = {}
        self._tensors = _TensorNames(names.modules[prefix])

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether ``m`` is taken as one operation."""
        return is_leaf(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Make a proxy that does not say what is not certain."""
        return TracedValue(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Answer questions that do not depend on the values; the others cannot be traced."""
        weights = (p.dtype for p in self._running[-1].module.parameters() if p.is_floating_point())
        answer = decide(obj.node, next(weights, None))
        return super().to_bool(obj) if answer is None else answer

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Make placeholders for the required parameters, so that the others keep their defaults."""
        assert isinstance(self.root, nn.Module)
        forward = self.root.forward  # the one that runs, also when it was set on the object
        main_input = getattr(self.root, "main_input_name", None)
        parameters = list(inspect.signature(forward).parameters.values())
        run = Run(self._prefix, self.root)
        self._running = [run]
        self.runs.append(run)
        keywords: dict[str, Any] = {}
        for parameter in parameters:
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            required = parameter.default is parameter.empty or parameter.name == main_input
            if not variadic and required:
                keywords[parameter.name] = self.create_proxy("placeholder", parameter.name, (), {})
        positional: list[Any] = []
        if not keywords and parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
            # A module around a model that hands on whatever it is given: one tensor.
            positional = [self.create_proxy("placeholder", parameters[0].name, (), {})]
        run.entered = tuple(value.node for value in (*keywords.values(), *positional))

        def call(root: nn.Module, *values: Any) -> Any:
            return forward(*values) if positional else forward(**dict(zip(keywords, values, strict=True)))

        return call, [self.root, *keywords.values(), *positional]

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """Give one node for each parameter, found by identity: torch's own tracer walks all names on every reading."""
        self._parameter_proxies = parameter_proxy_cache  # a rollback must prune it
        name = self._tensors.of(attr_val) if isinstance(attr_val, nn.Parameter) else None
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    def create_arg(self, a: Any) -> Any:
        """Give the node of a value as it is now; one for a parameter or buffer, found by identity as in `getattr`."""
        name = self._tensors.of(a)
        if name is not None:
            return self.create_node("get_attr", name, (), {})
        if type(a) is Tensor:
            node = self.create_node("get_attr", "a constant", (), {})
            node.meta["value"] = a
            return node
        now = super().create_arg(a)
        if isinstance(now, fx.Node) and now in self._overwritten:
            return super().create_node("call_function", as_overwritten, (self._overwritten[now],), {})
        return now

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Record who made every function and method call."""
        node = super().create_node(kind, *args, **kwargs)
        if kind in ("call_function", "call_method"):
            run = self._running[-1]
            self.calls[node] = Call(run, run.calls, self._places.here(), graph_node=run.graph_node)
            run.calls += 1
            if overwrites(node) and node.args and isinstance(node.args[0], fx.Node):
                self._overwrite(node.args[0], node)
        return node

    def _overwrite(self, old: fx.Node, new: fx.Node) -> None:
        """Let those who hold a value that is overwritten read what it is from now on."""
        same = (old, old.args[0]) if old.target is as_overwritten else (old,)
        before = [node for node, current in self._overwritten.items() if current in same]
        self._overwritten.update(dict.fromkeys((*before, *same), new))

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace into ``m``, or make it a leaf when its code cannot be traced."""
        caller = self._running[-1]
        path, alone = self._names.called_as(m, caller)
        plain = len(args) == 1 and not kwargs
        call = Call(caller, caller.calls, self._places.here(), m, path, alone, plain, caller.graph_node)
        caller.calls += 1
        if self.is_leaf_module(m, path):
            return self._leaf(call, args, kwargs)
        last = next(iter(reversed(self.graph.nodes)), None)
        stack, runs = dict(self.module_stack), len(self.runs)
        run = Run(path, m, call, tuple(v.node for v in (*args, *kwargs.values()) if type(v) is TracedValue))
        self.runs.append(run)
        self._running.append(run)
        try:
            if isinstance(m, fx.GraphModule):
                forward = NodeByNode(run).run_as_called
            result = super().call_module(m, forward, args, kwargs)
            run.left = result.node if type(result) is TracedValue else None
            return result
        except Exception as error:  # a user's forward may raise anything when it is given proxies
            self._roll_back(last)
            del self.runs[runs:]
            self.module_stack.clear()
            self.module_stack.update(stack)
            self.untraced[path] = reason(error)
        finally:
            self._running.pop()
        return self._leaf(call, args, kwargs)

    def _leaf(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Proxy:
        assert call.module is not None
        target = self.path_of_module(call.module)
        proxy = self.create_proxy("call_module", target, args, kwargs)
        proxy.node.meta["tensor"] = layout_of(call.module) is not None or is_known_activation(call.module)
        self.calls[proxy.node] = call
        return proxy

    def _roll_back(self, last: fx.Node | None) -> None:
        for node in reversed(self.graph.nodes):
            if node is last:
                break
            self.graph.erase_node(node)
            self.calls.pop(node, None)
            self._overwritten = {old: new for old, new in self._overwritten.items() if node not in (old, new)}
            for name in [name for name, proxy in self._parameter_proxies.items() if proxy.node is node]:
                del self._parameter_proxies[name]
