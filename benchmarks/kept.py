"""What a rewrite must leave as it was: classes, plain attributes and the weights of everything it does not replace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from rewriter.recipe import Recipe

_OF_EVERY_MODULE: Final = vars(nn.Module()).keys() - {"training"}
_VALUES: Final = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, type)


class BrokenPromiseError(Exception):
    """A promise about a rewritten model does not hold; the message says which."""


def require_kept(model: nn.Module, rewritten: nn.Module, recipe: Recipe) -> int:
    """Compare every module, plain attribute and state-dict entry that a recipe does not replace.

    A module whose own code called an activation may have got edited code; it must have its attributes, and a subclass
    of its class.

    Returns:
        The number of modules whose code was edited.

    Raises:
        BrokenPromiseError: something else is gone, has another class or value, or is new.
    """
    parts = _Parts(model, recipe)
    now = dict(rewritten.named_modules(remove_duplicate=False))
    edited = set[int]()
    for path, old in parts.modules.items():
        if parts.replaced(path):
            continue
        if path not in now:
            raise BrokenPromiseError(f"module: {path} is gone")
        if type(now[path]) is not type(old):
            if id(old) not in parts.edited or not isinstance(now[path], type(old)):
                raise BrokenPromiseError(f"class: {path or 'the model'} became a {type(now[path]).__name__}")
            edited.add(id(old))
        _require_attributes(path, old, now[path], parts)
    _require_state(model.state_dict(), rewritten.state_dict(), parts)
    return len(edited)


class _Parts:
    """The modules of the original model, and which of them a recipe replaces or edits."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
        self.named = {site.module for site in recipe.sites if site.module}
        self.named |= {record.path for record in recipe.linears} | {record.path for record in recipe.channelwise}
        self.named |= {record.path for record in recipe.experts}
        self._gone = {id(self.modules[path]) for path in self.named if path in self.modules}
        self.edited = {id(self.modules[site.owner]) for site in recipe.sites if site.module is None}
        self.functions = {path.rpartition(".")[0] for path in self.named if path not in self.modules}

    def replaced(self, path: str) -> bool:
        """Say whether a module, or one that holds it, is replaced, under this name or another."""
        holders = [path, *(path[:end] for end, letter in enumerate(path) if letter == ".")]
        return any(id(self.modules.get(holder)) in self._gone or holder in self.named for holder in holders)

    def may_add(self, key: str) -> bool:
        """Say whether a new state-dict key belongs to a replaced module, or to a new child of an edited one."""
        ends = [end for end, letter in enumerate(key) if letter == "."]
        for end in ends:
            path = key[:end]
            parent = path.rpartition(".")[0]
            if self.replaced(path) or (path not in self.modules and id(self.modules.get(parent)) in self.edited):
                return True
        return False


def _require_attributes(path: str, old: nn.Module, new: nn.Module, parts: _Parts) -> None:
    if path in parts.functions:
        return  # torch's own layers hold their activation, and what depends on it, in attributes
    for name, value in vars(old).items():
        if name in _OF_EVERY_MODULE:
            continue
        shown = f"{path}.{name}" if path else name
        if not hasattr(new, name):
            raise BrokenPromiseError(f"attribute: {shown} is gone")
        if not _same(value, getattr(new, name)):
            raise BrokenPromiseError(f"attribute: {shown} changed")


def _require_state(before: Mapping[str, Any], after: Mapping[str, Any], parts: _Parts) -> None:
    for key, value in before.items():
        if parts.replaced(key.rpartition(".")[0]):
            continue
        if key not in after:
            raise BrokenPromiseError(f"state dict: {key} is gone")
        if not _same(value, after[key]):
            raise BrokenPromiseError(f"state dict: {key} changed")
    for key in after.keys() - before.keys():
        if not parts.may_add(key):
            raise BrokenPromiseError(f"state dict: {key} is new")


def _same(old: Any, new: Any) -> bool:
    """Compare two values; of objects that say nothing of their contents, the classes."""
    if type(old) is not type(new):
        return False
    if isinstance(old, Tensor):
        return old.dtype == new.dtype and torch.equal(old, new)
    if isinstance(old, _VALUES):
        return bool(old == new) or old != old
    if isinstance(old, list | tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    return bool(old.to_dict() == new.to_dict()) if hasattr(old, "to_dict") else True
