"""Calibration inputs as the Python doors take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rewriter.errors import UsageError
from rewriter.evaluation import call
from rewriter.tracing.trace import reason


def require_iterable(calibration: Iterable[Any]) -> None:
    """Refuse a single input in the place of several.

    Raises:
        UsageError: it is a tensor or a dict, over which nobody means to iterate.
    """
    if isinstance(calibration, Tensor | Mapping):
        raise UsageError(
            expected="an iterable of calibration inputs",
            found=f"one {type(calibration).__name__}",
            remedy="put it in a list, or split it into batches",
        )


def listed(calibration: Iterable[Any]) -> list[Any]:
    """List calibration inputs, each a tensor, a tuple of arguments or a dict of keyword arguments.

    Raises:
        UsageError: there are none, a single one in no iterable, or one holds NaN or infinity.
    """
    require_iterable(calibration)
    inputs = list(calibration)
    if not inputs:
        raise UsageError(expected="at least one calibration input", found="none", remedy="give some, or leave it out")
    for number, given in enumerate(inputs):
        for leaf in tree_leaves(given):
            if isinstance(leaf, Tensor) and leaf.is_floating_point() and not bool(torch.isfinite(leaf).all()):
                raise UsageError(
                    expected="finite calibration inputs",
                    found=f"NaN or infinity in input {number}",
                    remedy="check how they were made",
                )
    return inputs


def run_on_calibration(model: nn.Module, given: Any) -> Any:
    """Run a model on one calibration input and return what it returns.

    Raises:
        UsageError: it cannot run on the input.
    """
    try:
        return call(model, given)
    except Exception as error:  # a user's forward may raise anything
        raise UsageError(
            expected="calibration inputs that the model runs on",
            found=reason(error),
            remedy="give tensors, tuples of arguments or dicts of keyword arguments of its forward",
        ) from error
