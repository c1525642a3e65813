"""Hooks of every kind: kept where their module stays, and where it would go, the module is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter

HOOKS: dict[str, Callable[[nn.Module, Callable[..., Any]], Any]] = {
    "forward": lambda module, hook: module.register_forward_hook(hook),
    "forward with kwargs": lambda module, hook: module.register_forward_hook(hook, with_kwargs=True),
    "forward pre": lambda module, hook: module.register_forward_pre_hook(hook),
    "full backward": lambda module, hook: module.register_full_backward_hook(hook),
    "full backward pre": lambda module, hook: module.register_full_backward_pre_hook(hook),
    "state dict": lambda module, hook: module.register_state_dict_post_hook(hook),
    "state dict pre": lambda module, hook: module.register_state_dict_pre_hook(hook),
    "load state dict pre": lambda module, hook: module.register_load_state_dict_pre_hook(hook),
    "load state dict": lambda module, hook: module.register_load_state_dict_post_hook(hook),
}
TENSOR_HOOKS: dict[str, Callable[[nn.Module, Callable[..., Any]], Any]] = {
    "tensor": lambda module, hook: next(module.parameters()).register_hook(hook),
    "accumulated gradient": lambda module, hook: next(module.parameters()).register_post_accumulate_grad_hook(hook),
}


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Functional(nn.Module):
    """A block whose code is edited."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def used(model: nn.Module) -> None:
    """Run a model forward and backward, and its state dict out and in."""
    model(torch.randn(3, 4)).sum().backward()
    model.load_state_dict(model.state_dict())


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("kind", HOOKS | TENSOR_HOOKS)
def test_a_layer_with_hooks_is_not_resized(kind: str, layer: int) -> None:
    model = mlp()
    (HOOKS | TENSOR_HOOKS)[kind](model[layer], lambda *_: None)
    (site,) = rewriter.capture(model).sites
    assert site.not_an_mlp == f"{layer} has hooks or parametrizations, which a new weight would lose"


@pytest.mark.parametrize("kind", HOOKS)
def test_an_activation_with_hooks_is_left_alone(kind: str) -> None:
    model = mlp()
    HOOKS[kind](model[1], lambda *_: None)
    captured = rewriter.capture(model)
    assert captured.sites == ()
    assert captured.misses[0].reason == "the activation module has hooks, which its replacement would lose"


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("method", ["ga", "sa"])
def test_hooks_of_modules_around_and_inside_what_is_rewritten_still_run(method: str, kind: str) -> None:
    seen: list[str] = []
    model = nn.Sequential(mlp(), nn.Sequential(Functional()), nn.Linear(4, 4))
    for path in ("", "0", "1", "1.0", "2"):
        HOOKS[kind](model.get_submodule(path), lambda *_, path=path: seen.append(path))
    result = rewriter.rewrite(model, method)
    assert len(result.recipe.sites) == 2
    used(result.model)
    assert set(seen) == {"", "0", "1", "1.0", "2"}


@pytest.mark.parametrize("kind", ["forward", "forward pre", "full backward", "full backward pre"])
def test_hooks_of_layers_inside_a_block_whose_code_is_edited_still_run(kind: str) -> None:
    seen: list[str] = []
    model = nn.Sequential(Functional(), nn.Linear(4, 2))
    HOOKS[kind](model[0].fc1, lambda *_: seen.append("fc1"))
    result = rewriter.rewrite(model, "ga")
    assert len(result.recipe.sites) == 1
    used(result.model)
    assert seen == ["fc1"]


def test_planning_runs_no_hook() -> None:
    seen: list[str] = []
    model = nn.Sequential(mlp(), Functional())
    for register in HOOKS.values():
        for module in model.modules():
            register(module, lambda *_: seen.append("ran"))
    rewriter.capture(model)
    assert seen == []
