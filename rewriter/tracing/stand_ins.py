"""Stand-ins: a model running on fake tensors, which have shapes and dtypes but no values."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from rewriter.evaluation import call, evaluating
from rewriter.tracing.calls import bound_arguments
from rewriter.tracing.torch_layers import without_fast_path
from rewriter.tracing.tracer import reason
from rewriter.tracing.untouched import untouched


class CannotRunError(Exception):
    """A model does not run on tensors without values; the message is the reason."""


class StandInRun:
    """A context in which a model has fake weights and can be run; on leaving, it is as before, without added hooks.

    Raises `CannotRunError` from a run whose way depends on values, on entering when a weight has no fake counterpart.

    The model is in eval mode, without its own hooks. Weights on the ``meta`` device are taken to be on the CPU, since
    code makes tensors there by default.

    Args:
        model: its parameters and buffers are replaced while the context lasts; their values are never read.
        example_inputs: a tensor, a tuple of arguments or a dict of keyword arguments.
        opaque: the ``id`` of modules that cannot be traced. Where one of them does not run without values, such as a
            mixture of experts, a tensor like its first floating-point argument stands for its result, and the run goes
            on: what it then shows is where that value goes.
        begin: called when such a module begins; what it returns is called when the module fails.

    Attributes:
        weights: for each fake parameter or buffer, by ``id``, the paths of what it stands for.
    """

    def __init__(
        self, model: nn.Module, example_inputs: Any, opaque: Set[int], begin: Callable[..., Callable[[], None]]
    ) -> None:
        self.weights: dict[int, list[str]] = {}
        self._model, self._inputs = model, example_inputs
        self._opaque, self._begin = opaque, begin
        self._mode = FakeTensorMode(allow_fallback_kernels=False, allow_non_fake_inputs=True)
        self._fakes: dict[int, Tensor] = {}
        self._stack = ExitStack()

    def __enter__(self) -> StandInRun:
        devices = (parameter.device for parameter in self._model.parameters() if not parameter.is_meta)
        device = next(devices, torch.device("cpu"))
        for context in (evaluating(self._model), untouched(self._model), without_fast_path(), _unlogged()):
            self._stack.enter_context(context)
        try:
            self._put_fakes(device)
            for module in self._model.modules():
                if id(module) in self._opaque and module is not self._model:
                    module.forward = self._forgiving(module)
        except Exception as error:  # libraries have tensors of their own kinds
            self._stack.close()
            raise CannotRunError(reason(error)) from error
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __call__(self) -> None:
        """Run the model."""
        given = self._inputs
        if "use_cache" in inspect.signature(self._model.forward).parameters:  # a cache is one more way of the code
            positional = () if isinstance(given, Mapping) else tuple(given) if _several(given) else (given,)
            named = bound_arguments(self._model, positional, given if isinstance(given, Mapping) else {})
            given = {"use_cache": False, **named} if named else given
        try:
            with self._mode:
                call(self._model, given)
        except Exception as error:  # a user's forward may raise anything
            raise CannotRunError(reason(error)) from error

    def _forgiving(self, module: nn.Module) -> Callable[..., Any]:
        forward = module.forward

        @wraps(forward)
        def run(*args: Any, **kwargs: Any) -> Any:
            undo = self._begin(module, args, kwargs)
            try:
                return forward(*args, **kwargs)
            except Exception:  # a user's forward may raise anything
                given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
                like = next((value for value in given if value.is_floating_point()), None)
                if like is None:
                    raise
                undo()
                return torch.empty_like(like)

        return run

    def _put_fakes(self, device: torch.device) -> None:
        self._inputs = tree_map_only(Tensor, lambda value: self._fake(value, device), self._inputs)
        for path, module in self._model.named_modules():
            for registry in (module._parameters, module._buffers):
                for name, weight in registry.items():
                    if weight is not None:
                        registry[name] = fake = self._standing_for(weight)
                        self.weights.setdefault(id(fake), []).append(f"{path}.{name}" if path else name)

    def _standing_for(self, weight: Any) -> Any:
        if id(weight) not in self._fakes:
            fake = self._fake(weight, torch.device("cpu") if weight.is_meta else weight.device)
            with self._mode:
                parameter = isinstance(weight, nn.Parameter)
                self._fakes[id(weight)] = nn.Parameter(fake, weight.requires_grad) if parameter else fake
        return self._fakes[id(weight)]

    def _fake(self, value: Tensor, device: torch.device) -> Tensor:
        with self._mode:
            return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=device)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep torch from printing the errors of operations that have no fake counterpart: they are raised as well."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = disabled


def _several(given: Any) -> bool:
    return isinstance(given, tuple | list)
