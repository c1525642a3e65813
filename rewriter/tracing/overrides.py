"""How a call that torch lets others override is written in a graph: as a symbolic trace writes it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch._ops import OpOverload

_REFLECTED = {"__rsub__": operator.sub, "__rdiv__": operator.truediv, "__rtruediv__": operator.truediv}


def spelled(function: Callable[..., Any]) -> tuple[Literal["call_function", "call_method"], Any]:
    """Give the kind and the target of the node of a call of ``function``.

    Args:
        function: as ``__torch_function__`` or ``__torch_dispatch__`` receives it.
    """
    if isinstance(function, OpOverload):
        name = function._schema.name.rpartition("::")[2]
        return ("call_method", name) if hasattr(torch.Tensor, name) else ("call_function", function)
    name = function.__name__
    if name == "__get__":
        return "call_function", getattr
    if getattr(torch.Tensor, name, None) is not function:
        return "call_function", function
    if name.startswith("__"):
        return "call_function", _REFLECTED.get(name) or getattr(operator, name, function)
    return "call_method", name


def attribute(function: Callable[..., Any]) -> str | None:
    """Give the name of the tensor attribute whose reading ``function`` is, or None for any other call."""
    return str(getattr(function, "__self__").__name__) if function.__name__ == "__get__" else None  # noqa: B009


def overwritten(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Give the tensor that a call overwrites, or None; torch marks such functions with a trailing underscore."""
    if "out" in kwargs:
        return kwargs["out"]
    name = function._schema.name if isinstance(function, OpOverload) else function.__name__
    in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace")
    first = args[0] if args else kwargs.get("input")
    return first if in_place else None
