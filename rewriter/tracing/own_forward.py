"""The graph of one module's own ``forward``: what replaces code that no submodule replacement can reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from rewriter.tracing.calls import Signature
from rewriter.tracing.hooks import has_hooks
from rewriter.tracing.list_argument import ListArgument, handles_a_list
from rewriter.tracing.named_functions import activation_functions
from rewriter.tracing.trace import Trace
from rewriter.tracing.tracer import reason
from rewriter.tracing.untouched import untouched


class NotRewritableError(Exception):
    """The code of a module cannot be replaced by a graph; the message is the reason shown to the user."""


class _OwnForwardTracer(fx.Tracer):
    def __init__(self, signature: Signature, activations: tuple[Callable[..., Any], ...]) -> None:
        super().__init__(autowrap_functions=activations)
        self._signature = signature
        self._context = _context()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        if _context() != self._context:
            raise NotRewritableError("its code enters a context such as autocast or no_grad, which a graph would lose")
        return super().create_node(kind, *args, **kwargs)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        names, lengths = self._signature.traced, dict(self._signature.lists)
        placeholders = [self.create_proxy("placeholder", name, (), {}) for name in names]

        def call(root: nn.Module, *values: Any) -> Any:
            given = dict(zip(names, values, strict=True))
            lists = {name: ListArgument(given[name], length) for name, length in lengths.items()}
            result = root_fn(root, **given | {name: argument.items for name, argument in lists.items()})
            for name, argument in lists.items():
                if not argument.write_back():
                    raise NotRewritableError(f"its code changes the list {name} in a way that a graph cannot repeat")
            return result

        return call, [self.root, *placeholders]


def own_forward(trace: Trace, owner: str) -> fx.Graph:
    """Trace the ``forward`` of one module with all its children as leaves.

    Args:
        trace: the trace of the whole model, which knows how the module is called.
        owner: the path of the module.

    Raises:
        NotRewritableError: a graph could not stand in for the code: it depends on train or eval mode or on arguments
            that are not tensors, makes tensors, keeps state, has hooks, or cannot be traced on its own.
    """
    module = trace.names.modules[owner]
    if isinstance(module, fx.GraphModule):
        return module.graph
    signature = _only_signature(trace, module)
    activations = activation_functions(trace.names.modules.values())
    with untouched(module):
        before = _state(module)
        graph = _trace(module, signature, activations)
        if _state(module) != before:
            raise NotRewritableError(
                f"the code of {type(module).__name__} makes tensors or keeps state, which a graph would freeze"
            )
        for part in module.modules():
            part.training = not part.training
        other_mode = _trace(module, signature, activations)
    if str(graph) != str(other_mode):
        raise NotRewritableError(f"the code of {type(module).__name__} depends on its train/eval mode")
    return graph


def call_nodes(graph: fx.Graph) -> list[fx.Node]:
    """List the calls of a graph in the order in which ``forward`` makes them, without the handling of its lists."""
    return [node for node in graph.nodes if node.op.startswith("call_") and not handles_a_list(node)]


def activation_input(node: fx.Node) -> fx.Node:
    """Give the value that enters the activation which a call computes; for ``x * sigmoid(x)``, ``x``."""
    gate = activation_gate(node)
    value = gate.args[0] if gate is not None else [*node.args, *node.kwargs.values()][0]
    assert isinstance(value, fx.Node)
    return value


def activation_gate(node: fx.Node) -> fx.Node | None:
    """Give the sigmoid inside an activation written as ``x * sigmoid(x)``, else None."""
    inputs = node.all_input_nodes
    return next((value for value in inputs if list(value.users) == [node] and len(inputs) == 2), None)


def _trace(module: nn.Module, signature: Signature, activations: tuple[Callable[..., Any], ...]) -> fx.Graph:
    try:
        return _OwnForwardTracer(signature, activations).trace(module)
    except NotRewritableError:
        raise
    except Exception as error:  # a user's forward may raise anything when it is given proxies
        raise NotRewritableError(
            f"the code of {type(module).__name__} cannot be traced alone ({reason(error)})"
        ) from None


def _context() -> tuple[bool, ...]:
    return torch.is_grad_enabled(), *(torch.is_autocast_enabled(device) for device in ("cpu", "cuda"))


def _state(module: nn.Module) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    buffers = {name: (id(buffer), buffer._version) for name, buffer in module.named_buffers()}
    return {name: id(value) for name, value in vars(module).items()}, buffers


def _only_signature(trace: Trace, module: nn.Module) -> Signature:
    if "forward" in vars(module):
        raise NotRewritableError(f"{type(module).__name__} has a forward of its own in the place of its class's")
    if has_hooks(module):
        raise NotRewritableError(f"{type(module).__name__} has hooks, which a graph would lose")
    found = set[Signature]().union(*(trace.signatures.get(path, set()) for path in trace.names.paths(module)))
    if len(found) != 1:
        raise NotRewritableError(f"{type(module).__name__} is called in {len(found)} different ways")
    (signature,) = found
    if signature.obstacle:
        raise NotRewritableError(f"{type(module).__name__}: {signature.obstacle}")
    return signature
