"""Calling a model's constructor, and saying in one line why it refused."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from torch import nn

from rewriter.errors import UsageError


def construct(build: Callable[..., object], what: str, **options: Any) -> nn.Module:
    """Return the module that ``build(**options)`` makes.

    Args:
        build: the constructor; code of a library or of the user, which may raise anything.
        what: the constructor's name for the message, such as ``"timm:resnet18"``.
        options: keyword arguments from the source text.

    Raises:
        UsageError: the constructor raised, or made something that is not an ``nn.Module``.
    """
    call = f"{what}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    try:
        model = build(**options)
    except Exception as error:
        raise UsageError(
            expected=f"{call} to build a model",
            found=f"{type(error).__name__}: {textwrap.shorten(str(error), 300)}",
            remedy="correct the source's name or options",
        ) from error
    if not isinstance(model, nn.Module):
        raise UsageError(
            expected=f"{call} to return a torch.nn.Module",
            found=f"a {type(model).__name__}",
            remedy="name a function or class that makes a module",
        )
    return model
