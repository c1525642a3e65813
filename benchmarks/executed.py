"""Which activations a model really runs: an account that does not depend on the rewriter's matching."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rewriter.evaluation import call, evaluating

_aten = torch.ops.aten
ACTIVATIONS: Final[frozenset[Any]] = frozenset(
    {
        _aten.relu, _aten.relu_, _aten.gelu, _aten.silu, _aten.silu_, _aten.mish, _aten.mish_, _aten.sigmoid,
        _aten.sigmoid_, _aten.tanh, _aten.tanh_, _aten.hardtanh, _aten.hardtanh_, _aten.hardswish, _aten.hardswish_,
        _aten.hardsigmoid, _aten.hardsigmoid_, _aten.leaky_relu, _aten.leaky_relu_, _aten.elu, _aten.elu_,
        _aten.celu, _aten.celu_, _aten.softplus, _aten.log_sigmoid_forward, _aten._prelu_kernel,
    }
)  # fmt: skip


def executed_activations(model: nn.Module, inputs: Any) -> dict[tuple[str, ...], int]:
    """Run a model once and count its activation operations by the modules that are running.

    Args:
        model: run in eval mode without gradients; left as it was.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.

    Returns:
        For each stack of module paths, outermost (the model itself, ``""``) first, the number of activation
        operations that the innermost module's own code called.
    """
    counter = _Counter()
    with evaluating(model), _stacked(model, counter.stack), counter:
        call(model, inputs)
    return counter.counts


def never_seen(executed: dict[tuple[str, ...], int], known: Iterable[str]) -> list[str]:
    """List the innermost module of each executed activation that no known path accounts for.

    Args:
        executed: what `executed_activations` returned.
        known: the paths of sites and misses: a module, or a module, a colon and the number of a call of its code.
    """
    known = list(known)
    modules = {path for path in known if ":" not in path}
    owners = {path.partition(":")[0].replace("(model)", "") for path in known if ":" in path}
    return [stack[-1] for stack in executed if stack[-1] not in modules and not owners.intersection(stack[-2:])]


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack: list[str] = []
        self.counts: dict[tuple[str, ...], int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in ACTIVATIONS:
            stack = tuple(self.stack)
            self.counts[stack] = self.counts.get(stack, 0) + 1
        return func(*args, **(kwargs or {}))


@contextmanager
def _stacked(model: nn.Module, stack: list[str]) -> Iterator[None]:
    def push(path: str) -> Callable[..., None]:
        return lambda module, arguments: stack.append(path)

    def pop(module: nn.Module, arguments: Any, output: Any) -> None:
        stack.pop()

    handles = []
    try:
        for path, module in model.named_modules():
            handles += [module.register_forward_pre_hook(push(path)), module.register_forward_hook(pop)]
        yield
    finally:
        for handle in handles:
            handle.remove()
