"""Plain functions that a model's code calls as activations, such as a GELU written out in a module's file."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import lru_cache
from types import FunctionType
from typing import Any, Final

from torch import nn

from rewriter.tracing.custom_activations import custom_function

_VARIADIC: Final = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def activation_functions(modules: Iterable[nn.Module]) -> tuple[FunctionType, ...]:
    """List the functions of one argument that the ``forward`` of a module names and that compute a known activation.

    A tracer that is told of them keeps each of their calls as one operation, as if they had been given to
    ``torch.fx.wrap``, instead of the arithmetic inside.
    """
    kinds: set[type] = {type(module) for module in modules}
    return tuple({id(function): function for kind in kinds for function in _named_by(kind)}.values())


@lru_cache(maxsize=4096)
def _named_by(kind: type) -> tuple[FunctionType, ...]:
    forward: Any = getattr(kind, "forward", None)
    if kind.__module__.startswith("torch.") or not isinstance(forward, FunctionType):
        return ()
    named = (forward.__globals__.get(name) for name in forward.__code__.co_names)
    return tuple(function for function in named if isinstance(function, FunctionType) and _is_activation(function))


def _is_activation(function: FunctionType) -> bool:
    code = function.__code__
    alone = code.co_argcount == 1 and not code.co_kwonlyargcount and not code.co_flags & _VARIADIC
    return alone and not function.__module__.startswith("torch.") and custom_function(function) is not None
