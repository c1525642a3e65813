"""Who made a call: the address that ties a traced node to a line of a module's own ``forward``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn


@dataclass(frozen=True)
class Call:
    """One call recorded while tracing.

    Attributes:
        owner: absolute path of the module whose own ``forward`` made the call.
        index: position of the call among the calls that this run of ``forward`` made, children counting as one.
        module: the module called, or None for a function or tensor method.
        path: the absolute path under which the owner reached ``module`` (None for functions).
        alone: False when the owner reaches ``module`` under more than one name.
    """

    owner: str
    index: int
    module: nn.Module | None = None
    path: str | None = None
    alone: bool = True


@dataclass(frozen=True)
class Signature:
    """How a module was called: which parameters of its ``forward`` held traced values.

    Attributes:
        traced: names of the parameters that received tensors, or lists of them.
        obstacle: why a stand-in ``forward`` with just these parameters would differ, or None.
        lists: of the parameters that received lists of tensors, the names and the lengths.
    """

    traced: tuple[str, ...]
    obstacle: str | None = None
    lists: tuple[tuple[str, int], ...] = ()


def bound_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of a call of ``module`` by the names of its ``forward``; none when they do not fit."""
    try:
        return dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except TypeError:
        return {}


def signature_of_call(
    module: nn.Module,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    traced_as: type[object] = fx.Proxy,
) -> Signature:
    """Describe one call of ``module`` by the parameters that received traced values, which are ``traced_as``."""
    parameters = inspect.signature(module.forward).parameters
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        return Signature((), f"its call does not fit its signature ({error})")
    traced: list[str] = []
    lists: list[tuple[str, int]] = []
    for name, value in bound.arguments.items():
        parameter = parameters[name]
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return Signature((), f"it is called with *args or **kwargs ({name})")
        if isinstance(value, traced_as):
            traced.append(name)
        elif type(value) is list and value and all(isinstance(item, traced_as) for item in value):
            traced.append(name)
            lists.append((name, len(value)))
        elif not _is_default(value, parameter.default):
            shown = f"a {type(value).__name__}" if isinstance(value, Tensor) else repr(value)
            return Signature((), f"its caller passes {name}={shown}"[:120])
    return Signature(tuple(traced), lists=tuple(lists))


def _is_default(value: object, default: object) -> bool:
    # Values are compared only where == is sure to answer with a bool: neither tensors nor containers of proxies.
    return value is default or (
        isinstance(value, bool | int | float | str) and type(value) is type(default) and value == default
    )
