"""Hooks: code that users hang on modules, which tracing does not see and a replacement would lose."""

from __future__ import annotations

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
