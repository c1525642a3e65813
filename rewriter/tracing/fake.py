"""A model on fake tensors: it runs as it does, with shapes and dtypes but without values."""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_map_only

from rewriter.evaluation import call, evaluating
from rewriter.tracing.hooks import untouched
from rewriter.tracing.torch_layers import without_fast_path

Layout = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device]


class FakeRun:
    """A context in which a model has fake weights and can be run; on leaving, it is as it was.

    The model is in eval mode, without its own hooks; what was compiled runs eagerly. Weights on the ``meta`` device are
    taken to be on the CPU, since code makes tensors there by default.

    Args:
        model: its parameters and buffers are replaced while the context lasts; their values are never read.
        example_inputs: a tensor, a tuple of arguments or a dict of keyword arguments.
        unknown_sizes: go on with unknown sizes where they depend on values, as that of ``nonzero`` does.

    Attributes:
        weights: for each fake parameter or buffer, by ``id``, the paths of what it stands for.
    """

    def __init__(self, model: nn.Module, example_inputs: Any, *, unknown_sizes: bool = False) -> None:
        self.weights: dict[int, list[str]] = {}
        self._model, self._inputs = model, example_inputs
        sizes = ShapeEnv(allow_dynamic_output_shape_ops=True) if unknown_sizes else None
        self._mode = FakeTensorMode(allow_fallback_kernels=False, allow_non_fake_inputs=True, shape_env=sizes)
        self._fakes: dict[int, Tensor] = {}
        self._made: list[weakref.ref[Tensor]] = []
        self._stack = ExitStack()

    def __enter__(self) -> FakeRun:
        devices = (parameter.device for parameter in self._model.parameters() if not parameter.is_meta)
        device = next(devices, torch.device("cpu"))
        self._stack.callback(self._forget)
        contexts = (evaluating(self._model), untouched(self._model), without_fast_path(), _unlogged(), _eagerly())
        for context in contexts:
            self._stack.enter_context(context)
        try:
            self._inputs = tree_map_only(Tensor, lambda value: self._fake(value, device), self._inputs)
            self._put_fakes()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if error is not None:
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the run
        self._stack.close()

    def __call__(self) -> Any:
        """Run the model; whatever its code raises is raised."""
        given = self._inputs
        if "use_cache" in inspect.signature(self._model.forward).parameters:  # a cache is one more way of the code
            positional = (
                () if isinstance(given, Mapping) else tuple(given) if isinstance(given, tuple | list) else (given,)
            )
            named = _bound(self._model.forward, positional, given if isinstance(given, Mapping) else {})
            given = {"use_cache": False, **named} if named else given
        with self._mode:
            return call(self._model, given)

    def like(self, layout: Layout) -> Tensor:
        """Make a fake tensor of a layout."""
        size, stride, dtype, device = layout
        with no_dispatch():
            hollow = torch.empty_strided(size, stride, dtype=dtype, device="meta")
        return FakeTensor(self._mode, hollow, device)

    def note(self, value: Tensor) -> None:
        """Note a fake tensor that the run made: nothing may hold on to it afterwards."""
        self._made.append(weakref.ref(value))

    def _put_fakes(self) -> None:
        for path, module in self._model.named_modules():
            if "_parameters" not in vars(module):  # a scripted module
                continue
            for registry in (module._parameters, module._buffers):
                for name, weight in registry.items():
                    if weight is not None:
                        registry[name] = fake = self._standing_for(weight)
                        self.weights.setdefault(id(fake), []).append(f"{path}.{name}" if path else name)

    def _standing_for(self, weight: Any) -> Any:
        if id(weight) not in self._fakes:
            fake: Any = self._fake(weight, torch.device("cpu") if weight.is_meta else weight.device)
            if isinstance(weight, nn.Parameter):
                fake._is_param = True  # as nn.Parameter marks a tensor of another kind
                fake.requires_grad = weight.requires_grad
            self._fakes[id(weight)] = fake
        return self._fakes[id(weight)]

    def _fake(self, value: Tensor, device: torch.device) -> Tensor:
        return self.like((value.size(), value.stride(), value.dtype, device))

    def _forget(self) -> None:
        """Take the run's tensors out of caches: code that keeps a table of positions would find it without values."""
        self._fakes.clear()
        self._inputs = None
        if any(made() is not None for made in self._made):
            gc.collect()
        for made in self._made:
            if (held := made()) is not None:
                _take_out(held)
        self._made.clear()


def _take_out(held: Tensor) -> None:
    """Empty the caches of functions that hold a tensor, and take its entries out of dicts and lists."""
    waiting: list[Any] = [held]
    for _ in range(4):  # a cache holds an entry, the entry a tuple, the tuple the tensor
        found: list[Any] = []
        for holder in gc.get_referrers(*waiting):
            if type(holder) is functools._lru_cache_wrapper:
                holder.cache_clear()
            elif type(holder) is dict:
                for key in [key for key, value in holder.items() if any(value is one for one in waiting)]:
                    del holder[key]
            elif type(holder) is list and holder is not waiting and holder is not found:
                holder[:] = [value for value in holder if not any(value is one for one in waiting)]
            elif type(holder) is tuple or type(holder).__name__ == "_lru_list_elem":
                found.append(holder)
        waiting = found
        if not waiting:
            return


def _bound(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(inspect.signature(forward).bind(*args, **kwargs).arguments)
    except TypeError:
        return {}


@contextmanager
def _eagerly() -> Iterator[None]:
    """Let what torch.compile made run as the Python that it was made from."""
    with torch.compiler.set_stance("force_eager"):
        yield


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
