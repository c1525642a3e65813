"""How many activations a model runs between two linear maps: an account that does not depend on the rewriter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from benchmarks.executed import ACTIVATIONS
from rewriter.evaluation import call, evaluating

_aten = torch.ops.aten
_SPELLED_OUT: Final = frozenset({_aten.erf, _aten.expm1})  # GELU and xIELU, where code writes them out
_PRODUCTS: Final = frozenset(
    {_aten.mm, _aten.bmm, _aten.mv, _aten.linear, _aten.matmul, _aten.convolution, _aten._convolution}
    | {getattr(_aten, name) for name in ("_grouped_mm", "_scaled_mm") if hasattr(_aten, name)}
)
_PRODUCTS_AFTER_A_SUMMAND: Final = frozenset({_aten.addmm, _aten.baddbmm, _aten.addmv})
_ENDS: Final = frozenset({_aten._softmax, _aten._safe_softmax, _aten._log_softmax, _aten.embedding})
_FUSED_ATTENTION: Final = "_scaled_dot_product"


@dataclass(frozen=True)
class _Past:
    """What a value that depends on the inputs has been through.

    Attributes:
        fed: a linear map lies behind it, and no activation since.
        pending: the fed activations since the last linear map.
    """

    fed: bool = False
    pending: frozenset[int] = frozenset()


def executed_mlps(model: nn.Module, inputs: Any) -> int:
    """Run a model once and count the activation calls that stand between two linear maps.

    A linear map is a matrix product or convolution of a value that depends on the inputs with one that does not, its
    weights. Elementwise functions, gates, sums, norms, pools and changes of shape may stand between the activation and
    either map. A softmax, a lookup, or a matrix product of two values that depend on the inputs, as in attention, ends
    the way.

    Args:
        model: run in eval mode without gradients; left as it was.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.
    """
    tracker = _Tracker()
    for value in tree_leaves(inputs):
        if isinstance(value, Tensor):
            tracker.pasts[value] = _Past()
    with evaluating(model), tracker:
        call(model, inputs)
    return len(tracker.confirmed)


class _Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pasts = WeakTensorKeyDictionary()
        self.confirmed: set[int] = set()
        self._activations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        pasts = [self.pasts[value] for value in given if value in self.pasts]
        results = func(*args, **kwargs)
        if pasts:
            past = self._past(func.overloadpacket, args, pasts)
            for value in tree_leaves(results):
                if isinstance(value, Tensor):
                    self.pasts[value] = past
        return results

    def _past(self, operation: Any, args: Any, pasts: list[_Past]) -> _Past:
        pending = frozenset[int]().union(*(past.pending for past in pasts))
        if operation in _PRODUCTS or operation in _PRODUCTS_AFTER_A_SUMMAND:
            operands = args[1:3] if operation in _PRODUCTS_AFTER_A_SUMMAND else args[:2]
            if all(operand in self.pasts for operand in operands):
                return _Past()
            self.confirmed |= pending
            return _Past(fed=True)
        if operation in _ENDS or operation.__name__.startswith(_FUSED_ATTENTION):
            return _Past()
        fed = any(past.fed for past in pasts)
        if operation in ACTIVATIONS or operation in _SPELLED_OUT:
            self._activations += 1
            return _Past(pending=pending | {self._activations} if fed else pending)
        return _Past(fed, pending)
