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
from rewriter.tracing.names import ModuleNames
from rewriter.tracing.spellings import is_known_activation
from rewriter.tracing.torch_layers import is_transformer


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

    Attributes:
        calls: for each node that is a call, who made it.
        untraced: for each leaf that was meant to be opened, its absolute path and why it was not.
        signatures: for each module path, the distinct ways it was called.
    """

    def __init__(self, names: ModuleNames, prefix: str) -> None:
        super().__init__()
        self.names = names
        self.prefix = prefix
        self.calls: dict[fx.Node, Call] = {}
        self.untraced: dict[str, str] = {}
        self.signatures: dict[str, set[Signature]] = {}
        self._frames: list[_Frame] = []
        self._parameter_proxies: dict[str, fx.Proxy] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether ``m`` is taken as one operation."""
        if isinstance(m, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            return False
        if isinstance(m, torch.jit.ScriptModule) or is_known_activation(m) or layout_of(m) is not None:
            return True
        if is_transformer(m):
            return False
        written_in = str(getattr(vars(m).get("forward", type(m).forward), "__module__", ""))
        return written_in.startswith(("torch.nn.", "torch.ao.nn."))

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Answer questions that do not depend on the values; the others cannot be traced."""
        weights = (p.dtype for p in self._frames[-1].module.parameters() if p.is_floating_point())
        answer = decide(obj.node, next(weights, None))
        return super().to_bool(obj) if answer is None else answer

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Make placeholders for required parameters only, so that optional ones keep their defaults."""
        assert isinstance(self.root, nn.Module)
        self._frames = [_Frame(self.prefix, self.root)]
        main_input = getattr(self.root, "main_input_name", None)
        keywords: dict[str, Any] = {}
        for name, parameter in list(inspect.signature(inspect.unwrap(root_fn)).parameters.items())[1:]:
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if not variadic and (parameter.default is parameter.empty or name == main_input):
                keywords[name] = self.create_proxy("placeholder", name, (), {})
        self.signatures[self.prefix] = {Signature(tuple(keywords))}

        def call(root: nn.Module, *values: Any) -> Any:
            return root_fn(root, **dict(zip(keywords, values, strict=True)))

        return call, [self.root, *keywords.values()]

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """Keep hold of the cache of parameter proxies, which a rollback must prune."""
        self._parameter_proxies = parameter_proxy_cache
        return super().getattr(attr, attr_val, parameter_proxy_cache)

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


def reason(error: BaseException) -> str:
    """Give the first line of an error, short enough for a table."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}"[:160] if text else type(error).__name__
