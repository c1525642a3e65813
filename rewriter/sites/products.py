"""Products of two values: which factor is the value, and which only weighs it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from rewriter.sites.operations import Operations, is_computed_from, keeps_values
from rewriter.tracing.spellings import MULTIPLICATIONS

_MATRIX_PRODUCTS: frozenset[Any] = frozenset({torch.matmul, torch.bmm, "matmul", "bmm", "__matmul__"})
_SOFTMAX_CALLS: frozenset[Any] = frozenset(
    {F.softmax, torch.softmax, "softmax", F.log_softmax, torch.log_softmax, "log_softmax", F.softmin, F.gumbel_softmax}
)
SOFTMAX_MODULES = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)


def is_product(node: fx.Node) -> bool:
    """Say whether a node multiplies two traced values, element by element or as matrices."""
    return len(node.args) == 2 and (node.target in MULTIPLICATIONS or is_matrix_product(node))


def is_matrix_product(node: fx.Node) -> bool:
    """Say whether a node is a product of matrices."""
    return node.target in _MATRIX_PRODUCTS or getattr(node.target, "__name__", "") == "matmul"


def is_softmax(operations: Operations, node: fx.Node) -> bool:
    """Say whether a node is a softmax."""
    return isinstance(operations.module(node), SOFTMAX_MODULES) or node.target in _SOFTMAX_CALLS


def weighed_value(operations: Operations, product: fx.Node) -> fx.Node | None:
    """Give the factor of a product that the other factor only weighs, or None.

    The other factor is a weight when it is computed from the value itself, as in squeeze-and-excite or x/‖x‖, or when
    it is a softmax, as in attention.
    """
    if not is_product(product):
        return None
    first, second = product.args
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node) or first is second:
        return None
    for value, weight in ((first, second), (second, first)):
        if _comes_from_softmax(operations, weight):
            return value
        if not is_matrix_product(product) and is_computed_from(weight, value):
            return value
    return None


def _comes_from_softmax(operations: Operations, node: fx.Node) -> bool:
    while operations.is_pass_through(node) or keeps_values(node):
        node = node.all_input_nodes[0]
    return is_softmax(operations, node)
