"""Hooks and other marks on modules: what a run of a model's code must not leave, and a replacement would lose."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


STATE_DICT_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def has_hooks(module: nn.Module) -> bool:
    """Say whether a module has forward or backward hooks."""
    return any(getattr(module, hooks) for hooks in HOOKS)


def would_lose_hooks(module: nn.Module) -> bool:
    """Say whether hooks of any kind hang on a module or its parameters, which another module in its place has not."""
    if has_hooks(module) or any(getattr(module, hooks) for hooks in STATE_DICT_HOOKS):
        return True
    parameters = module.parameters(recurse=False)
    return any(p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None) for p in parameters)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back, on leaving, what a run of its code did to the model and to the CPU's random state.

    Attributes that code sets on its modules are restored or removed, buffers that it updates in place are copies while
    the context lasts, and hooks do not run. Plain lists and dicts of modules, such as caches, get their entries back;
    changes deeper inside them stay.
    """
    # Scripted modules keep their parts in C++, where no code of theirs changes them.
    kept = {module: dict(vars(module)) for module in model.modules() if "_modules" in vars(module)}
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
