from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rewriter
from passes.anneal import begin_anneal
from passes.turning import turn_signs
from tests.models.resnet_cifar import CifarResNet


class Residual(nn.Module):
    """One activation inside a branch, and one behind the sum, whose signs cannot be turned."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1)
        self.inside, self.outside, self.last = act, nn.ReLU(), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.outside(x + self.second(self.inside(self.norm(self.first(x))))))


def trained(model: nn.Module, x: Tensor) -> nn.Module:
    with torch.no_grad():
        for _ in range(3):  # batch norms get statistics of their own
            model(x)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2)
                module.bias.normal_()
    return model.eval()


def test_turning_is_exact_and_makes_the_end_nearer_to_the_original() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 8, 8)
    original = trained(Residual(nn.ReLU()), x)
    result = rewriter.rewrite(original, "ga", lifted=False)
    assert [site.placement.function for site in result.recipe.sites] == ["g[relu]", "relu"]
    with torch.no_grad():
        expected, untouched = original(x), result.model(x)
        turned = turn_signs(result.model, result.recipe, original)
        assert turned == {"inside"}
        with begin_anneal(result.model, result.recipe, 4, turned=turned):
            assert torch.equal(result.model(x), expected)
        assert (result.model(x) - expected).norm() < 0.7 * (untouched - expected).norm()


def test_only_weights_change() -> None:
    torch.manual_seed(0)
    original = Residual(nn.ReLU()).eval()
    result = rewriter.rewrite(original, "ga", lifted=False)
    before = {name: tensor.clone() for name, tensor in result.model.state_dict().items()}
    turn_signs(result.model, result.recipe, original)
    changed = {name for name, tensor in result.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"norm.weight", "norm.bias", "second.weight"} - {
        name for name, tensor in before.items() if not tensor.any()
    }
    assert all(torch.equal(result.model.state_dict()[name], -before[name]) for name in changed)


@pytest.mark.parametrize("method", ["swap", "ga"])
def test_a_function_that_bends_the_same_way_or_neither_is_left_alone(method: str) -> None:
    torch.manual_seed(0)
    original = Residual(nn.Tanh()).eval()  # odd, as its adversarial function is
    result = rewriter.rewrite(original, method, include=["inside"], **({} if method == "swap" else {"lifted": False}))
    assert turn_signs(result.model, result.recipe, original) == frozenset()


def test_without_a_norm_the_signs_of_the_layer_itself_are_turned() -> None:
    torch.manual_seed(0)
    x = torch.randn(9, 5)
    layers = [nn.Linear(5, 12), nn.GELU(), nn.Linear(12, 5), nn.LayerNorm(5), nn.Linear(5, 12), nn.GELU()]
    original = nn.Sequential(*layers, nn.Linear(12, 2)).eval()
    result = rewriter.rewrite(original, "ga", lifted=False)
    turned = turn_signs(result.model, result.recipe, original)
    assert turned == {"1"}
    assert torch.equal(result.model[0].weight, -original[0].weight)
    with torch.no_grad(), begin_anneal(result.model, result.recipe, 4, turned=turned):
        assert torch.equal(result.model(x), original(x))


def test_a_resnet_is_turned_inside_its_blocks() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 16, 16)
    original = trained(CifarResNet(1), x)
    result = rewriter.rewrite(original, "ga", lifted=False)
    with torch.no_grad():
        expected = original(x)
        turned = turn_signs(result.model, result.recipe, original)
        assert len(turned) == 3
        with begin_anneal(result.model, result.recipe, 4, turned=turned):
            assert torch.equal(result.model(x), expected)


def test_branches_are_not_turned() -> None:
    torch.manual_seed(0)
    original = nn.Sequential(nn.Linear(5, 12), nn.GELU(), nn.Linear(12, 5)).eval()
    result = rewriter.rewrite(original, "hdfgd")
    assert turn_signs(result.model, result.recipe, original) == frozenset()


@pytest.mark.parametrize(("text", "turned"), [("max(x,0)*1", {"inside"}), ("hardshrink", set())])
def test_signs_are_turned_around_a_formula_but_not_around_what_has_none(text: str, turned: set[str]) -> None:
    torch.manual_seed(0)
    original = Residual(nn.ReLU()).eval()
    result = rewriter.rewrite(original, "ga", lifted=False)
    sites = tuple(site.model_copy(update={"activation": text}) for site in result.recipe.sites)
    assert turn_signs(result.model, result.recipe.model_copy(update={"sites": sites}), original) == turned
