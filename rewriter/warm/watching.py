"""Watching a model run: what enters and leaves some of its modules, as matrices of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from rewriter.calibration import run_on_calibration
from rewriter.evaluation import call

See = Callable[[str, Tensor, Tensor], None]


class _Enough(Exception):
    """Raised by a hook to leave a model's forward when the rest of it is not needed."""


@contextmanager
def seeing(model: nn.Module, paths: Collection[str], see: See) -> Iterator[None]:
    """Call ``see`` with the path, the first input and the output of every call of some modules while in the context."""
    with ExitStack() as stack:
        for path in paths:

            def hook(_: nn.Module, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
                entered = next((v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)), None)
                left = next((v for v in tree_leaves(output) if isinstance(v, Tensor)), None)
                if entered is not None and left is not None:
                    see(path, entered, left)

            stack.callback(model.get_submodule(path).register_forward_hook(hook, with_kwargs=True).remove)
        yield


def passing(model: nn.Module, path: str, inputs: Any, *, calls: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """Run a model until a module was called so often; give what entered it and what left it at each call."""
    entered: list[Tensor] = []
    left: list[Tensor] = []

    def see(_: str, before: Tensor, after: Tensor) -> None:
        entered.append(before)
        left.append(after)
        if len(left) == calls:
            raise _Enough

    with seeing(model, [path], see), suppress(_Enough):
        call(model, inputs)
    return entered, left


def run(model: nn.Module, inputs: Any) -> list[Tensor]:
    """Run a model on one calibration input and give the floating-point tensors that it returns.

    Raises:
        UsageError: it cannot run on the input.
    """
    outputs = run_on_calibration(model, inputs)
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def rows(values: Tensor, channels_dim: int, inputs: Any) -> Tensor:
    """Give the values as a matrix, one row for each position; positions that an ``attention_mask`` hides are left out.

    Args:
        values: any shape with the channels along ``channels_dim``.
        channels_dim: 1 or -1.
        inputs: what the model was called with.
    """
    if channels_dim != -1 and values.ndim > 1:
        values = values.movedim(channels_dim, -1)
    mask = attention_mask(values, inputs)
    if mask is not None:
        return values[mask]
    return values.flatten(0, -2) if values.ndim > 1 else values.reshape(1, -1)


def attention_mask(values: Tensor, inputs: Any) -> Tensor | None:
    """Give the positions ``[N, L]`` of values ``[N, L, C]`` that count, when the inputs say so; None when all do."""
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if isinstance(mask, Tensor) and mask.ndim == 2 and values.ndim == 3 and values.shape[:2] == mask.shape:
        return None if bool(mask.all()) else mask.bool()
    return None


def moved(inputs: Any, device: torch.device) -> Any:
    """Move the tensors of one calibration input to a device."""
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), inputs)
