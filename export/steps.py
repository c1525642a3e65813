"""What a model computes on the way from its inputs to its outputs, value by value."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from export.outputs import named_tensors
from export.runner import Runner


@dataclass(frozen=True)
class Step:
    """One value inside a model.

    Attributes:
        operation: what computed it, such as ``aten.addmm`` or ``MatMul``.
        value: a copy of it, any shape and dtype.
        parents: the positions of the steps that it was computed from; all are earlier.
        node: the name of the node in the exported graph; empty where nodes have none.
        module: the path of the innermost module that was running; empty for the model itself, or where unknown.
    """

    operation: str
    value: Tensor
    parents: tuple[int, ...]
    node: str = ""
    module: str = ""


@dataclass(frozen=True)
class Recording:
    """The steps of one run.

    Attributes:
        steps: the inputs, then the values that depend on them, in the order of execution.
        outputs: for each output of the model, the position of its step; None where no step made it.
    """

    steps: Sequence[Step]
    outputs: tuple[int | None, ...]


Recorder = Callable[[Path, Mapping[str, Tensor]], Recording]
"""Runs an exported file on named inputs and records its steps."""


def record_call(call: Callable[..., Any], inputs: Sequence[Tensor], model: nn.Module | None = None) -> Recording:
    """Run ``call(*inputs)`` and record every ATen operation that depends on the inputs, whoever asks for it.

    Args:
        call: Python, a TorchScript function or an exported program; its output is made of tensors.
        inputs: what it takes.
        model: the module that runs, for the module paths of the steps.
    """
    watcher = _Watcher(inputs)
    with contextlib.ExitStack() as stack:
        if model is not None:
            stack.enter_context(_following(model, watcher.running))
        stack.enter_context(torch.no_grad())
        stack.enter_context(watcher)
        output = call(*inputs)
    return Recording(watcher.steps, tuple(watcher.step_of(tensor) for _, tensor in named_tensors(output)))


def record_file(load: Callable[[Path], Runner], path: Path, inputs: Mapping[str, Tensor]) -> Recording:
    """Record the steps of an exported file that torch runs, operation by operation."""
    run = load(path)
    return record_call(lambda *tensors: run(dict(zip(inputs, tensors, strict=True))), list(inputs.values()))


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps a copy of the result of every operation, since a later one may overwrite it."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self.running: list[str] = []
        self._step_of: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._alive: list[Tensor] = []  # an id stays one tensor's own as long as the tensor lives
        for tensor in inputs:
            self._made("input", tensor, ())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        parents = self._parents(given)
        if parents and func is torch.ops.aten.addmm.default:
            # Other back-ends multiply and add in two nodes, which can then be told apart.
            parents = (*parents, self._add("aten.mm", args[1] @ args[2], parents))
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(output) if parents else ():
            if isinstance(tensor, Tensor):
                step = self._made(str(func.overloadpacket), tensor, parents)
                if func._schema.is_mutable:
                    self._written[_storage(tensor)] = step
        return output

    def step_of(self, tensor: Tensor) -> int | None:
        """Return the position of the step that made ``tensor``."""
        return self._step_of.get(id(tensor))

    def _parents(self, given: Sequence[Tensor]) -> tuple[int, ...]:
        made = {self._step_of.get(id(tensor)) for tensor in given}
        made |= {self._written.get(_storage(tensor)) for tensor in given}
        return tuple(sorted(step for step in made if step is not None))

    def _made(self, operation: str, tensor: Tensor, parents: tuple[int, ...]) -> int:
        self._step_of[id(tensor)] = step = self._add(operation, tensor, parents)
        self._alive.append(tensor)
        return step

    def _add(self, operation: str, value: Tensor, parents: tuple[int, ...]) -> int:
        module = self.running[-1] if self.running else ""
        self.steps.append(Step(operation, value.detach().clone(), parents, module=module))
        return len(self.steps) - 1


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@contextlib.contextmanager
def _following(model: nn.Module, running: list[str]) -> Iterator[None]:
    """Keep in ``running`` the paths of the modules that are being called."""
    handles = []
    try:
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(partial(_enter, running, path)))
            handles.append(module.register_forward_hook(partial(_leave, running), always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(running: list[str], path: str, module: nn.Module, args: Any) -> None:
    running.append(path)


def _leave(running: list[str], module: nn.Module, args: Any, output: Any) -> None:
    running.pop()
