"""``py:package.module:factory``: a model that a function or class of the user's own code makes."""

from __future__ import annotations

import importlib
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from torch import nn

from rewriter.errors import UsageError
from rewriter.names import require_known
from rewriter.sources.construct import construct
from rewriter.sources.inputs import InputSpec, tensor_input

_PATH = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<factory>\w+)")


def build(name: str) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    """Import ``package.module`` and call ``factory()`` without arguments.

    The current directory is importable meanwhile, as under ``python -m``.

    Returns:
        The model, and its input if the model has an attribute ``input_shape`` (without the batch), else ``()``.

    Raises:
        UsageError: the path is malformed, the module or factory does not exist or raises, or makes no ``nn.Module``.
    """
    path = _PATH.fullmatch(name)
    if path is None:
        raise UsageError(
            expected="py:package.module:factory", found=f"'py:{name}'", remedy="write the module, a colon, the factory"
        )
    with _current_directory_importable():
        module = _import(path["module"])
        callables = [key for key, value in vars(module).items() if callable(value) and not key.startswith("__")]
        require_known(path["factory"], callables, f"factory of {path['module']}")
        model = construct(getattr(module, path["factory"]), f"py:{name}")
    shape = getattr(model, "input_shape", None)
    return model, () if shape is None else tensor_input(model, shape)


def _import(module: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise UsageError(
            expected=f"a module {module} that can be imported",
            found=f"{type(error).__name__}: {textwrap.shorten(str(error), 300)}",
            remedy="run from the folder that holds its package, or install it",
        ) from error


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
