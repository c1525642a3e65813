"""A value while code is traced symbolically, which answers only what is certain."""

from __future__ import annotations

import dis
import operator
import os
import sys
from types import FrameType
from typing import Any, Final

import torch.overrides
from torch import Tensor, fx

from rewriter.tracing.spellings import activation_of_function

_ARITHMETIC: Final = frozenset(
    {operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.neg, operator.matmul}
    | {operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow}
)


class TracedValue(fx.Proxy):
    """A traced value: what it is can be asked where that is certain, and augmented assignments overwrite it."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})

    def __ipow__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.ipow, (self, other), {})

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # Only who asks by isinstance is told Tensor: torch's own C++ would take the proxy for one.
        if not _asks_for_the_kind(sys._getframe(1)):
            return TracedValue
        if is_tensor(self.node):
            return Tensor
        raise fx.proxy.TraceError(f"its code asks whether {self.node.name} is a tensor, which no trace can tell")


_TORCH: Final = torch.__path__[0] + os.sep
_QUESTIONS: Final = (torch.is_tensor.__code__, torch.overrides.is_tensor_like.__code__)
_MATCH_CLASS: Final = dis.opmap["MATCH_CLASS"]


def _asks_for_the_kind(frame: FrameType) -> bool:
    """Say whether code asks for the kind of a value, rather than torch when it is called with it."""
    code = frame.f_code
    if code in _QUESTIONS or code.co_code[frame.f_lasti] == _MATCH_CLASS:
        return True
    if code.co_filename.startswith(_TORCH):
        return False
    line, _, column, _ = list(code.co_positions())[frame.f_lasti // 2]
    places = [one.positions for one in dis.get_instructions(code) if one.argval == "isinstance"]
    return column is not None and any(one and (one.lineno, one.col_offset) == (line, column) for one in places)


def is_tensor(node: fx.Node) -> bool:
    """Say whether a value is a tensor for certain: what a layer, an activation or arithmetic with a tensor gives."""
    if node.op == "call_module":
        return bool(node.meta.get("tensor"))
    if node.op == "get_attr" or (node.op == "call_function" and activation_of_function(node) is not None):
        return True
    return node.target in _ARITHMETIC and any(map(is_tensor, node.all_input_nodes))
