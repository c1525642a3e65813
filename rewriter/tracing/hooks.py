"""Hooks: code that users hang on modules, which tracing does not see and a replacement would lose."""

from __future__ import annotations

from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Say whether a module has forward or backward hooks."""
    return any(getattr(module, hooks) for hooks in HOOKS)
