"""Running a model's code on stand-ins without leaving a mark on the model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rewriter.tracing.hooks import HOOKS


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back, on leaving, what a traced ``forward`` did to the model and to the CPU's random state.

    Attributes that code sets on its modules are restored or removed, buffers that it updates in place are copies while
    the context lasts, and hooks do not run. Plain lists and dicts of modules, such as caches, get their entries back;
    changes deeper inside them stay.
    """
    kept = {module: dict(vars(module)) for module in model.modules()}
    values = [value for attributes in kept.values() for value in attributes.values()]
    lists = [(value, list(value)) for value in values if type(value) is list]
    mappings = [(value, dict(value)) for value in values if type(value) is dict]
    for module, attributes in kept.items():
        for registry in ("_parameters", "_buffers", "_modules"):
            attributes[registry] = dict(attributes[registry])
        for name, buffer in attributes["_buffers"].items():
            module._buffers[name] = buffer.clone() if buffer is not None else None
        for hooks in HOOKS:
            vars(module)[hooks] = OrderedDict()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, attributes in kept.items():
            vars(module).clear()
            vars(module).update(attributes)
        for items, before in lists:
            items[:] = before
        for mapping, entries in mappings:
            mapping.clear()
            mapping.update(entries)
