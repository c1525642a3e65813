"""A symbolic tracer that turns what it cannot trace into leaves, and keeps the reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from rewriter.layouts import layout_of
from rewriter.tracing.calls import Call, Signature, signature_of_call
from rewriter.tracing.guards import decide
from rewriter.tracing.named_functions import activation_functions
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.spellings import is_known_activation
from rewriter.tracing.torch_layers import is_transformer


class _TensorNames:
    def __init__(self, root: nn.Module) -> None:
        named = (*root.named_buffers(), *root.named_parameters())
        self._known = {id(tensor): (tensor, name) for name, tensor in named}

    def of(self, value: Any) -> str | None:
        """Give the name of a parameter or buffer of the traced module, or None for anything else."""
        tensor, name = self._known.get(id(value), (None, None))
        return name if tensor is value else None


@dataclass
class _Frame:
    path: str
    module: nn.Module
    calls: int = 0


class LeafRetryTracer(fx.Tracer):
    """Traces a module; a submodule whose ``forward`` cannot be traced becomes a leaf instead of an error.

    Leaves from the start are modules that run torch's own code (containers apart) and the activation classes that the
    project knows.

    Args:
        names: the names of every module of the whole model.
        prefix: absolute path of the module to trace.
        given: the parameters of its ``forward`` that receive tensors; None for the required ones.

    Attributes:
        calls: for each node that is a call, who made it.
        untraced: for each leaf that was meant to be opened, its absolute path and why it was not.
        signatures: for each module path, the distinct ways it was called.
    """

    def __init__(self, names: ModuleNames, prefix: str, given: tuple[str, ...] | None = None) -> None:
        super().__init__(autowrap_functions=activation_functions(names.modules.values()))
        self.names = names
        self.prefix = prefix
        self._given = given
        self.calls: dict[fx.Node, Call] = {}
        self.untraced: dict[str, str] = {}
        self.signatures: dict[str, set[Signature]] = {}
        self._frames: list[_Frame] = []
        self._parameter_proxies: dict[str, fx.Proxy] = {}
        self._tensors = _TensorNames(names.modules[prefix])

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether ``m`` is taken as one operation."""
        return is_leaf(m)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Answer questions that do not depend on the values; the others cannot be traced."""
        weights = (p.dtype for p in self._frames[-1].module.parameters() if p.is_floating_point())
        answer = decide(obj.node, next(weights, None))
        return super().to_bool(obj) if answer is None else answer

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Make placeholders for the parameters that receive tensors, so that the others keep their defaults."""
        assert isinstance(self.root, nn.Module)
        self._frames = [_Frame(self.prefix, self.root)]
        main_input = getattr(self.root, "main_input_name", None)
        keywords: dict[str, Any] = {}
        parameters = list(inspect.signature(inspect.unwrap(root_fn)).parameters.values())[1:]
        for parameter in parameters:
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            required = parameter.default is parameter.empty or parameter.name == main_input
            if not variadic and (required if self._given is None else parameter.name in self._given):
                keywords[parameter.name] = self.create_proxy("placeholder", parameter.name, (), {})
        if not keywords and parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
            # A module around a model that hands on whatever it is given: one tensor.
            self.signatures[self.prefix] = {Signature((), "it is called with *args or **kwargs")}
            return root_fn, [self.root, self.create_proxy("placeholder", parameters[0].name, (), {})]
        self.signatures[self.prefix] = {Signature(tuple(keywords))}

        def call(root: nn.Module, *values: Any) -> Any:
            return root_fn(root, **dict(zip(keywords, values, strict=True)))

        return call, [self.root, *keywords.values()]

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
        """Give a node for a parameter or buffer, found by identity as in `getattr`."""
        name = self._tensors.of(a)
        return super().create_arg(a) if name is None else self.create_node("get_attr", name, (), {})

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Record the owner of every function and method call."""
        node = super().create_node(kind, *args, **kwargs)
        if kind in ("call_function", "call_method"):
            frame = self._frames[-1]
            self.calls[node] = Call(frame.path, frame.calls)
            frame.calls += 1
        return node

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace into ``m``, or make it a leaf when its code cannot be traced."""
        caller = self._frames[-1]
        path, alone = self.names.called_as(m, caller.path)
        call = Call(caller.path, caller.calls, m, path, alone)
        caller.calls += 1
        self.signatures.setdefault(path, set()).add(signature_of_call(m, args, kwargs))
        if self.is_leaf_module(m, path):
            return self._leaf(call, args, kwargs)
        last = next(iter(reversed(self.graph.nodes)), None)
        stack = dict(self.module_stack)
        self._frames.append(_Frame(path, m))
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:  # a user's forward may raise anything when it is given proxies
            self._roll_back(last)
            self.module_stack.clear()
            self.module_stack.update(stack)
            self.untraced[path] = reason(error)
        finally:
            self._frames.pop()
        return self._leaf(call, args, kwargs)

    def _leaf(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Proxy:
        assert call.module is not None
        target = self.path_of_module(call.module)
        proxy = self.create_proxy("call_module", target, args, kwargs)
        self.calls[proxy.node] = call
        return proxy

    def _roll_back(self, last: fx.Node | None) -> None:
        for node in reversed(self.graph.nodes):
            if node is last:
                break
            self.graph.erase_node(node)
            self.calls.pop(node, None)
            for name in [name for name, proxy in self._parameter_proxies.items() if proxy.node is node]:
                del self._parameter_proxies[name]


def is_leaf(module: nn.Module) -> bool:
    """Say whether a module is taken as one operation: torch's own code, known activations, layers with a layout."""
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    if isinstance(module, torch.jit.ScriptModule) or is_known_activation(module) or layout_of(module) is not None:
        return True
    if is_transformer(module):
        return False
    written_in = str(getattr(vars(module).get("forward", type(module).forward), "__module__", ""))
    return written_in.startswith(("torch.nn.", "torch.ao.nn."))


def reason(error: BaseException) -> str:
    """Give the first line of an error, short enough for a table."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}"[:160] if text else type(error).__name__
