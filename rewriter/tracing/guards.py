"""Guards in model code that a trace may decide: questions about dtypes, and checks for overflow."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

_COMPARISONS: dict[Any, Callable[[Any, Any], bool]] = {operator.eq: operator.eq, operator.ne: operator.ne}
_FINITE = (torch.isfinite, "isfinite")
_NOT_FINITE = (torch.isinf, torch.isnan, "isinf", "isnan")
_REDUCTIONS = ("all", "any", torch.all, torch.any)


def decide(question: fx.Node, dtype: torch.dtype | None) -> bool | None:
    """Answer a question that code asks about traced values, or give None when the answer depends on them.

    Values are taken to be finite, and floating-point values to have the dtype of the weights around them. The answers
    only choose what is looked at: no code is replaced by a graph traced this way.

    Args:
        question: the node whose truth is asked for.
        dtype: of the weights of the module that asks; None when it has none.
    """
    if question.target in _COMPARISONS and len(question.args) == 2:
        left, right = question.args
        asked = isinstance(left, fx.Node) and left.target is getattr and left.args[1] == "dtype"
        if asked and isinstance(right, torch.dtype) and dtype is not None:
            return _COMPARISONS[question.target](dtype, right)
    if question.target in _REDUCTIONS and isinstance(checked := question.args[0], fx.Node):
        if checked.target in _FINITE:
            return True
        if checked.target in _NOT_FINITE:
            return False
    return None
