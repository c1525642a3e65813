"""Finite values: a rewritten model must not produce NaN or infinity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rewriter.errors import ValidationError
from rewriter.evaluation import call, evaluating


def check_finite(model: nn.Module, inputs: Any) -> None:
    """Run a model once in eval mode, without gradients, and assert that its outputs are finite.

    Args:
        model: left in the mode it was in.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.

    Raises:
        ValidationError: an output is NaN or infinite.
    """
    with evaluating(model):
        outputs = call(model, inputs)
    for number, value in enumerate(tree_leaves(outputs)):
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise ValidationError(
                expected=f"finite values in output {number}",
                found=f"{bad} of {value.numel()} that are NaN or infinite",
                remedy="check the original model's outputs, then try a larger --alpha or another method",
            )
