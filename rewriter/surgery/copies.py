"""Copies of a model that compute what it computes: what ``copy.deepcopy`` loses is repaired or refused."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import fx, nn

from rewriter.errors import UsageError
from rewriter.tracing.trace import reason


def copied(model: nn.Module) -> nn.Module:
    """Copy a model, and check that the copy holds the same classes, functions and modes.

    A class may add to its copies what they had not: torch's decoder layer gives itself a ReLU beside the activation
    module that it was made with. Such attributes are taken away again.

    Raises:
        UsageError: the model cannot be copied, or the copy would be another model, or would go on using this one.
    """
    try:
        with torch.inference_mode(False):
            made = copy.deepcopy(model)
    except Exception as error:  # whatever the model holds may refuse to be copied
        raise _cannot_copy(reason(error)) from error
    before, after = (dict(one.named_modules(remove_duplicate=False)) for one in (model, made))
    own = set(before.values())
    if shared := [module for module in after.values() if module in own]:
        raise _cannot_copy(f"{type(shared[0]).__name__}, of which the copy is the original")
    if before.keys() != after.keys():
        lost = min(before.keys() ^ after.keys())
        raise _cannot_copy(f"a copy that differs in having {lost}")
    for path, module in before.items():
        _repair(path, module, after[path])
        for name, value in vars(after[path]).items():
            if any(part in own for part in _held(value)):
                raise _cannot_copy(f"{name} of {path or 'the model'}, a function that goes on using the original")
    return made


def _repair(path: str, module: nn.Module, made: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule) and isinstance(made, torch.jit.ScriptModule):
        return  # torch copies them in C++, and names their classes as it likes
    if isinstance(module, fx.GraphModule) and type(made).__mro__[1:] == type(module).__mro__[1:]:
        type(made).__name__ = type(module).__name__  # each has a class of its own
    elif type(made) is not type(module):
        raise _cannot_copy(f"{type(module).__name__} at {path or 'the root'}, whose copy is a {type(made).__name__}")
    before, after = vars(module), vars(made)  # a class may guard its attributes
    for name in after.keys() - before.keys():
        del after[name]
    for name in before.keys() - after.keys():
        after[name] = copy.deepcopy(before[name])
    for name, value in before.items():
        if name == "training" or (isinstance(value, FunctionType) and after[name] is not value):
            after[name] = value
    for registry in ("_parameters", "_buffers"):
        if before[registry].keys() != after[registry].keys():
            raise _cannot_copy(f"a copy of {path or 'the model'} with other tensors")


def _held(value: Any) -> Iterator[nn.Module]:
    """Yield the modules that a function holds on to."""
    if isinstance(value, functools.partial):
        yield from _held(value.func)
        for part in (*value.args, *value.keywords.values()):
            yield from _held(part)
    elif isinstance(value, MethodType):
        yield from _held(value.__self__)
    elif isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            if isinstance(content, nn.Module | FunctionType | functools.partial | MethodType):
                yield from _held(content) if content is not value else ()
    elif isinstance(value, nn.Module):
        yield value


def _cannot_copy(found: str) -> UsageError:
    return UsageError(
        expected="a model that copy.deepcopy can copy", found=found, remedy="work on it with inplace=True"
    )
