"""How a call that torch lets others override is written in a graph: as a symbolic trace writes it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import fx
from torch._ops import OpOverload

_REFLECTED = {
    "__rsub__": operator.sub,
    "__rdiv__": operator.truediv,
    "__rtruediv__": operator.truediv,
    "__rpow__": operator.pow,
    "__rfloordiv__": operator.floordiv,
    "__rmod__": operator.mod,
    "__rmatmul__": operator.matmul,
    "__rmul__": operator.mul,
    "__radd__": operator.add,
}

_AUGMENTED = frozenset({operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow})


def spelled(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Literal["call_function", "call_method"], Any, tuple[Any, ...]]:
    """Give the kind, the target and the positional arguments of the node of a call of ``function``.

    Args:
        function: as ``__torch_function__`` or ``__torch_dispatch__`` receives it.
        args: the positional arguments.
    """
    if isinstance(function, OpOverload):
        name = function._schema.name.rpartition("::")[2]
        return ("call_method", name, args) if hasattr(torch.Tensor, name) else ("call_function", function, args)
    name = function.__name__
    if name == "__get__":
        return "call_function", getattr, (*args[:1], function.__self__.__name__)  # type: ignore[attr-defined]
    if getattr(torch.Tensor, name, None) is not function and getattr(function, "__module__", "") != "torch._tensor":
        return "call_function", function, args
    if name in _REFLECTED:
        return "call_function", _REFLECTED[name], args[::-1]
    if name.startswith("__"):
        return "call_function", getattr(operator, name, function), args
    return "call_method", name, args


def overwritten(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Give the tensor that a call overwrites, or None; torch marks such functions with a trailing underscore."""
    if "out" in kwargs:
        return kwargs["out"]
    name = function._schema.name if isinstance(function, OpOverload) else function.__name__
    in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace")
    first = args[0] if args else kwargs.get("input")
    return first if in_place else None


def overwrites(node: fx.Node) -> bool:
    """Say whether a function or method node overwrites its first argument."""
    name = node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", ""))
    in_place = name.endswith("_") and not name.endswith("__")
    return node.target in _AUGMENTED or in_place or bool(node.kwargs.get("inplace"))


def as_overwritten(value: Any) -> Any:
    """Stand for a value as those read it later who hold the tensor that another call overwrote."""
    return value
