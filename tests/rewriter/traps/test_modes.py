"""Train and eval mode, dropout and stochastic depth react after a rewrite as before: no mode is baked in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter

timm = pytest.importorskip("timm")


class Block(nn.Module):
    """A block with a functional activation around something that reacts to the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 4)
        self.part: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.part(self.fc2(F.gelu(self.fc1(x))))


class AsksItsMode(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y * 2 if self.training else y


class PassesItsMode(Block):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.5, self.training)


class BakedIn(Block):
    """Dropout that stays on whatever the mode, since the code says so."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.5)


class AsksAroundTheActivation(Block):
    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        if self.training:
            return x + self.fc2(F.gelu(h))
        return x + self.fc2(F.gelu(h) * 2)


def rewritten(block: Block, *, training: bool) -> nn.Module:
    model = rewriter.rewrite(nn.Sequential(block, nn.Linear(4, 4)).train(training), "ga").model
    assert "gelu" in model[0]._modules
    return model


PARTS = {
    "Dropout": lambda: nn.Dropout(0.5),
    "DropPath": lambda: timm.layers.DropPath(0.5),
    "StochasticDepth": lambda: pytest.importorskip("torchvision").ops.StochasticDepth(0.5, "row"),
    "AlphaDropout": lambda: nn.AlphaDropout(0.5),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("part", PARTS)
def test_what_reacts_to_the_mode_in_edited_code_still_does(part: str, training: bool) -> None:
    block = Block()
    block.part = PARTS[part]()
    model = rewritten(block, training=training)
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize("training", [True, False])
def test_code_that_asks_for_its_mode_elsewhere_asks_as_before(training: bool) -> None:
    model, x = rewritten(AsksItsMode(), training=training)[0], torch.randn(3, 4)
    assert torch.equal(model.train()(x), model.eval()(x) * 2)


@pytest.mark.parametrize("training", [True, False])
def test_a_mode_that_is_passed_on_is_passed_on_as_before(training: bool) -> None:
    model, x = rewritten(PassesItsMode(), training=training), torch.randn(64, 4)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize("example_inputs", [None, torch.zeros(2, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_an_activation_that_the_mode_decides_on_is_left_as_it_is_in_either_mode(
    training: bool, example_inputs: Tensor | None
) -> None:
    model = nn.Sequential(AsksAroundTheActivation(), nn.Linear(4, 4)).train(training)
    captured = rewriter.capture(model, example_inputs)
    assert captured.sites == ()
    assert [miss.reason for miss in captured.misses] == ["its code depends on its train/eval mode"]


def test_dropout_that_the_code_leaves_on_stays_on() -> None:
    model = rewritten(BakedIn(), training=False)
    x = torch.randn(64, 4)
    assert not torch.equal(model.eval()(x), model(x))


class ModuleBranches(nn.Module):
    """Which MLP runs depends on the mode; its activations are modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))
        self.other = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) if self.training else self.other(x)


@pytest.mark.parametrize("training", [True, False])
def test_the_branch_of_the_other_mode_is_reported_and_still_taken(training: bool) -> None:
    torch.manual_seed(0)
    model, x = ModuleBranches().train(training), torch.randn(3, 4)
    result = rewriter.rewrite(model, "swap", activation="mish")
    assert [site.path for site in result.recipe.sites] == ["one.1" if training else "other.1"]
    (miss,) = result.recipe.misses
    assert (miss.path, miss.reason) == ("other.1" if training else "one.1", "no traced code calls it")
    torch.testing.assert_close(result.model.train(not training)(x), model.train(not training)(x))
