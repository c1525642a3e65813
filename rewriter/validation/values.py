"""Finite values: a rewritten model must not produce NaN or infinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rewriter.errors import ValidationError


def check_finite(model: nn.Module, inputs: Any) -> None:
    """Run a model once in eval mode, without gradients, and assert that its outputs are finite.

    Args:
        model: left in the mode it was in.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.

    Raises:
        ValidationError: an output is NaN or infinite.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            outputs = call(model.eval(), inputs)
    finally:
        for module, training in modes.items():
            module.training = training
    for number, value in enumerate(tree_leaves(outputs)):
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise ValidationError(
                expected=f"finite values in output {number}",
                found=f"{bad} of {value.numel()} that are NaN or infinite",
                remedy="check the original model's outputs, then try a larger --alpha or another method",
            )


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a model with a tensor, a tuple of arguments or a dict of keyword arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)
