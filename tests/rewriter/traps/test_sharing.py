"""Modules under two names, called twice, and parameters in two places: each has one behaviour."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter


class Repeats(nn.Module):
    """One activation object, called behind every layer in one forward."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.act(layer(x))
        return self.layers[-1](x)


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


@pytest.mark.parametrize("act", [nn.GELU(), nn.ReLU(inplace=True), QuickGELU()], ids=lambda act: type(act).__name__)
def test_each_call_of_one_object_gets_a_function_of_its_own(act: nn.Module) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Repeats(act)), torch.randn(5, 4)
    result = rewriter.rewrite(model, "ga", lifted=False)
    adversarial = [site.placement.function.startswith("g[") for site in result.recipe.sites]
    assert adversarial == [False, True, False]
    (functions,) = [list(module) for name, module in result.model[0].named_children() if name not in ("layers", "act")]
    assert len({id(function) for function in functions}) == 3
    expected = x
    for layer, function in zip(model[0].layers, functions, strict=False):
        expected = function(layer(expected))
    torch.testing.assert_close(result.model(x), model[0].layers[-1](expected))


def test_a_block_under_two_names_keeps_both_names_in_the_state_dict() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
            self.second = self.first

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    model = Twice()
    result = rewriter.rewrite(model, "sa")
    assert result.model.first is result.model.second
    assert model.state_dict().keys() <= result.model.state_dict().keys()
    assert result.recipe.parameters_after <= result.recipe.parameters_before


class Tied(nn.Module):
    """The output layer of one MLP has the weight of the first layer of another, transposed widths apart."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.other = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.other[0].weight = self.one[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.one(x))


def test_layers_with_a_tied_weight_keep_it_tied_for_a_reason() -> None:
    model = Tied()
    captured = rewriter.capture(model)
    assert [site.not_an_mlp for site in captured.sites] == [
        "one.0.weight is tied to another module",
        "other.0.weight is tied to another module",
    ]
    result = rewriter.rewrite(model, "ga")
    assert result.model.one[0].weight is result.model.other[0].weight


def test_a_tied_parameter_is_counted_once() -> None:
    model = Tied()
    recipe = rewriter.plan(model, "ga")
    assert recipe.parameters_before == sum(p.numel() for p in model.parameters())
    assert recipe.parameters_before < sum(p.numel() for p in copy.deepcopy(model).state_dict().values())


class WeightInCode(nn.Module):
    """A tied head written as a function call on the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.mlp(self.embed(ids)), self.embed.weight)


@pytest.mark.parametrize("method", ["ga", "sa"])
def test_a_weight_used_by_hand_elsewhere_stays_the_same_object(method: str) -> None:
    result = rewriter.rewrite(WeightInCode(), method)
    result.model(torch.arange(3)).sum().backward()
    assert result.model.embed.weight.grad is not None
    assert result.model.state_dict().keys() == WeightInCode().state_dict().keys()


class Activated(Repeats):
    """The last of the layers, too, is activated in the loop; its value is the output."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(layer(x))
        return x


class Functions(Repeats):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.gelu(layer(x))
        return self.layers[-1](x)


@pytest.mark.parametrize("example_inputs", [None, torch.zeros(2, 4)])
def test_a_loop_with_an_activation_that_stays_is_left_alone(example_inputs: Tensor | None) -> None:
    captured = rewriter.capture(Activated(nn.GELU()), example_inputs)
    assert captured.sites == ()
    assert {miss.reason for miss in captured.misses} >= {"it is the model's output, not a hidden value"}


@pytest.mark.parametrize("method", ["ga", "sa"])
def test_a_loop_of_which_one_turn_is_excluded_is_left_alone(method: str) -> None:
    model = nn.Sequential(Functions(nn.Identity()), nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    paths = [site.path for site in rewriter.plan(model, method).sites]
    assert paths == ["0:gelu[0]", "0:gelu[1]", "0:gelu[2]", "2"]
    result = rewriter.rewrite(model, method, exclude=["0:gelu[[]1]"])
    assert [site.path for site in result.recipe.sites] == ["2"]
    reasons = {miss.path: miss.reason for miss in result.recipe.misses}
    assert reasons["0:gelu[1]"] == "an exclude pattern matches it"
    assert reasons["0:gelu[0]"] == "it is computed in a loop, in which another layer's is not rewritten"
    assert type(result.model[0]) is Functions


class Listed(nn.Module):
    """Calls its modules through a plain list, to which a replacement under their names would be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)
        self.steps = [self.fc1, self.act, {"last": self.fc2}]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps[:2]:
            x = step(x)
        return self.steps[2]["last"](x)


class ListedLayers(Listed):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.steps[0](x)))


class ListedMethod(Listed):
    def __init__(self) -> None:
        super().__init__()
        self.steps = [self.act.forward]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)) + self.steps[0](x).sum())


@pytest.mark.parametrize("example_inputs", [None, torch.zeros(2, 4)])
def test_modules_that_plain_attributes_hold_too_stay(example_inputs: Tensor | None) -> None:
    assert rewriter.capture(nn.Sequential(Listed(), nn.Linear(4, 2)), example_inputs).sites == ()
    (site,) = rewriter.capture(nn.Sequential(ListedLayers(), nn.Linear(4, 2)), example_inputs).sites
    assert site.not_an_mlp == "0.fc1 is also held in a list or another plain attribute"


def test_an_activation_that_a_plain_attribute_holds_too_is_replaced_where_it_is_called() -> None:
    model, x = ListedMethod(), torch.randn(3, 4)
    result = rewriter.rewrite(model, "swap", activation="mish").model
    h = model.fc1(x)
    torch.testing.assert_close(result(x), model.fc2(F.mish(h) + F.gelu(x).sum()))
