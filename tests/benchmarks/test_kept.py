"""What a rewrite must leave as it was: every breach is found and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter
from benchmarks.kept import BrokenPromiseError, require_kept


class Net(nn.Module):
    """An MLP whose activation is a module or a function call, and a head that no method changes."""

    def __init__(self, *, functional: bool = False) -> None:
        super().__init__()
        self.block = Called() if functional else nn.Sequential(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 6))
        self.head = nn.Linear(6, 3)
        self.sizes = {"hidden": [24]}
        self.shift = torch.ones(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(x)) + self.shift


class Called(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 24), nn.Linear(24, 6)
        self.note = "kept"

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.gelu(self.first(x)))


class Other(nn.Linear):
    pass


def change_weight(model: Any) -> None:
    model.head.weight.data[0, 0] += 1


def change_class(model: Any) -> None:
    model.head.__class__ = Other


def drop_module(model: Any) -> None:
    del model.head


def add_buffer(model: Any) -> None:
    model.head.register_buffer("extra", torch.zeros(1))


def change_nested(model: Any) -> None:
    model.sizes["hidden"].append(1)


def change_tensor(model: Any) -> None:
    model.shift += 1


def drop_attribute(model: Any) -> None:
    del model.sizes


def change_mode(model: Any) -> None:
    model.head.training = not model.head.training


BREACHES: dict[str, Callable[[Any], None]] = {
    "state dict: head.weight changed": change_weight,
    "class: head became a Other": change_class,
    "module: head is gone": drop_module,
    "state dict: head.extra is new": add_buffer,
    "attribute: sizes changed": change_nested,
    "attribute: shift changed": change_tensor,
    "attribute: sizes is gone": drop_attribute,
    "attribute: head.training changed": change_mode,
}


@pytest.mark.parametrize("method", ["ga", "hdfgd"])
@pytest.mark.parametrize(("functional", "edited"), [(False, 0), (True, 1)])
def test_a_rewrite_keeps_all_but_its_sites(method: str, functional: bool, edited: int) -> None:
    model = Net(functional=functional)
    result = rewriter.rewrite(model, method)
    assert require_kept(model, result.model, result.recipe) == edited


@pytest.mark.parametrize("message", BREACHES)
def test_every_other_change_is_named(message: str) -> None:
    model = Net()
    result = rewriter.rewrite(model, "hdfgd")
    BREACHES[message](result.model)
    with pytest.raises(BrokenPromiseError, match=f"^{message}$"):
        require_kept(model, result.model, result.recipe)


class Unrelated(nn.Module):
    pass


def test_edited_code_whose_class_has_nothing_of_the_old_one_is_named() -> None:
    model = Net(functional=True)
    result = rewriter.rewrite(model, "ga")
    result.model.block.__class__ = Unrelated
    with pytest.raises(BrokenPromiseError, match="class: block became a Unrelated"):
        require_kept(model, result.model, result.recipe)


def test_an_attribute_that_edited_code_lost_is_named() -> None:
    model = Net(functional=True)
    result = rewriter.rewrite(model, "ga")
    del result.model.block.note
    with pytest.raises(BrokenPromiseError, match=r"attribute: block.note is gone"):
        require_kept(model, result.model, result.recipe)


def test_a_model_of_another_class_is_named() -> None:
    model = Net()
    result = rewriter.rewrite(model, "hdfgd")
    with pytest.raises(BrokenPromiseError, match="class: the model became a Sequential"):
        require_kept(model, nn.Sequential(), result.recipe)
