from __future__ import annotations

import copy
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter


def is_edited(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Say whether a module has code of its own, and is still what it was to everyone who asks."""
    same = isinstance(module, kind) and (type(module).__name__, type(module).__module__) == (kind.__name__, __name__)
    return same and type(module) is not kind and not isinstance(module, fx.GraphModule)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("step", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class Block(nn.Module):
    """Reads a child's parameter and buffer, keeps its own, and has parts that forward never uses."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.inner, self.unused = nn.Linear(4, 8), nn.Linear(8, 4), Inner(), nn.Linear(2, 2)
        self.gain = nn.Parameter(torch.ones(4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("cache", torch.zeros(4), persistent=False)
        self.constant, self.name, self.nothing = torch.ones(4), "block", None

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc2(F.relu(self.fc1(x - self.mean + self.cache))) * self.gain + self.constant
        return y + F.linear(x, self.inner.fc.weight) + self.inner.step


def rewritten() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    model = nn.Sequential(Block(), nn.Linear(4, 2))
    return model, rewriter.rewrite(model, "ga", lifted=False).model


def test_only_the_module_whose_code_calls_the_activation_gets_other_code() -> None:
    model, after = rewritten()
    assert type(after) is nn.Sequential
    assert is_edited(after[0], Block)
    assert type(after[1]) is nn.Linear
    x = torch.randn(5, 4)
    torch.testing.assert_close(after(x), model(x))


def test_a_block_keeps_class_name_attributes_and_state_dict() -> None:
    model, after = rewritten()
    block = after[0]
    assert is_edited(block, Block)
    assert (block.name, block.nothing) == ("block", None)
    assert type(block.inner) is Inner
    assert torch.equal(block.constant, torch.ones(4))
    assert after.state_dict().keys() == model.state_dict().keys()
    assert dict(after.named_buffers()).keys() == dict(model.named_buffers()).keys()


class Registered(Block):
    """Has a method, its own way of being called, and knows its subclasses."""

    known: ClassVar[list[type]] = []

    def __init_subclass__(cls) -> None:
        Registered.known.append(cls)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return -super().__call__(*args, **kwargs)

    def width(self) -> int:
        return self.fc1.out_features


def test_a_block_and_its_copies_are_still_of_their_class() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Registered(), nn.Linear(4, 2)), torch.randn(3, 4)
    after = rewriter.rewrite(model, "ga", lifted=False).model
    for result in (after, copy.deepcopy(after)):
        assert isinstance(result[0], Registered)
        assert result[0].width() == 8
        torch.testing.assert_close(result(x), model(x))
    assert type(model[0]) is Registered
    assert Registered.known == []


def test_copies_of_a_block_are_as_complete_as_the_block() -> None:
    model, after = rewritten()
    for clone in (copy.deepcopy(after), copy.deepcopy(copy.deepcopy(after))):
        block = clone[0]
        assert is_edited(block, Block)
        assert (block.name, type(block.inner)) == ("block", Inner)
        assert clone.state_dict().keys() == model.state_dict().keys()
        assert dict(clone.named_buffers()).keys() == dict(model.named_buffers()).keys()
        x = torch.randn(5, 4)
        torch.testing.assert_close(clone(x), model(x))


def test_a_rewrite_does_not_change_the_buffers_of_the_original() -> None:
    model, _ = rewritten()
    assert "0.inner.step" not in model.state_dict()
    assert "0.cache" not in model.state_dict()


class Nested(Block):
    """A block with its own functional activation around another such block."""

    def __init__(self) -> None:
        super().__init__()
        self.child = Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(self.child(x))))


def test_a_rewritten_block_inside_a_rewritten_block_is_in_its_place() -> None:
    torch.manual_seed(0)
    outer, x = Nested(), torch.randn(3, 4)
    result = rewriter.rewrite(nn.Sequential(outer), "swap", activation="mish")
    assert {site.path for site in result.recipe.sites} == {"0:relu", "0.child:relu"}
    assert is_edited(result.model[0], Nested)
    assert is_edited(result.model[0].child, Block)
    inner = outer.child
    h = inner.fc2(F.mish(inner.fc1(x))) + 1 + F.linear(x, inner.inner.fc.weight)
    torch.testing.assert_close(result.model(x), outer.fc2(F.mish(outer.fc1(h))))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_model_whose_own_code_must_change_stays_of_its_class(inplace: bool) -> None:
    model = Block()
    after = rewriter.rewrite(model, "hdfgd", activation="gelu", inplace=inplace).model
    assert (after is model) == inplace
    assert is_edited(after, Block)
    assert after.name == "block"


class TwoFunctions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[2](F.silu(self.layers[1](F.relu(self.layers[0](x)))))


def test_a_rewritten_block_can_be_rewritten_again_without_touching_the_first() -> None:
    model, x = nn.Sequential(TwoFunctions(), nn.Linear(4, 2)), torch.randn(3, 4)
    once = rewriter.rewrite(model, "swap", activation="silu").model
    expected = once(x)
    twice = rewriter.rewrite(once, "swap", activation="mish").model
    assert [type(m) for m in twice[0].children()][1:] == [nn.Mish, nn.Mish]
    layers, h = model[0].layers, x
    for layer in layers[:2]:
        h = F.mish(layer(h))
    torch.testing.assert_close(twice(x), model[1](layers[2](h)))
    assert torch.equal(once(x), expected)


def test_a_model_and_a_block_inside_it_can_both_get_other_code() -> None:
    torch.manual_seed(0)
    model, x = Nested(), torch.randn(3, 4)
    after = rewriter.rewrite(model, "ga", alpha=1.0, lifted=False).model
    assert is_edited(after, Nested)
    assert is_edited(after.child, Block)
    x = after.child(x)
    torch.testing.assert_close(after.fc2(F.relu(after.fc1(x))), model.fc2(F.relu(model.fc1(x))))
