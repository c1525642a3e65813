from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from passes.functions import activation, adversarial
from passes.ga import GA, GAConfig
from rewriter.sites import Site


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.norm(self.conv(x)))


class Net(nn.Module):
    """A conv→norm→relu block, a conv→sigmoid and an MLP with tanh: three sites, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.conv = Functional(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Conv2d(4, 4, 1))
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.conv(self.block(x)).mean((2, 3)))


def observed(module: nn.Module, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Input and output of one module while the model runs."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = module.register_forward_hook(lambda _, args, output: seen.append((args[0].clone(), output.clone())))
    model(x)
    handle.remove()
    ((before, after),) = seen
    return before, after


def test_each_site_computes_its_function_in_the_running_model() -> None:
    torch.manual_seed(0)
    model, x = rewriter.rewrite(Net().eval(), "ga", alpha=0.5).model, torch.randn(2, 3, 8, 8)
    value, result = observed(model.mlp[1], model, x)
    torch.testing.assert_close(result, torch.tanh(value) + 0.5 * value)
    value, result = observed(model.conv[1], model, x)
    torch.testing.assert_close(result, adversarial("sigmoid", 0.5)(value))
    value, result = observed(model.block.relu, model, x)
    torch.testing.assert_close(result, torch.relu(value) + 0.5 * value)


def test_the_adversarial_function_has_the_reciprocal_slope_at_its_site() -> None:
    model = rewriter.rewrite(Net(), "ga").model
    x = torch.linspace(-4, 4, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(model.conv[1](x).sum(), x)
    sigmoid = torch.sigmoid(x)
    torch.testing.assert_close(slope * (sigmoid * (1 - sigmoid) + 1), torch.ones_like(x))


def test_no_linear_changes_and_no_parameter_is_added() -> None:
    result = rewriter.rewrite(Net(), "ga")
    assert result.recipe.linears == ()
    assert result.recipe.parameters_after == result.recipe.parameters_before


@pytest.mark.parametrize(
    ("options", "functions"),
    [
        ({}, ["relu + 1x", "g[sigmoid]", "tanh + 1x"]),
        ({"alpha": 0.5}, ["relu + 0.5x", "g[sigmoid]", "tanh + 0.5x"]),
        ({"lifted": False}, ["relu", "g[sigmoid]", "tanh"]),
        ({"activation": "gelu"}, ["gelu + 1x", "g[gelu]", "gelu + 1x"]),
    ],
)
def test_the_options_choose_the_pair(options: dict[str, Any], functions: list[str]) -> None:
    assert [site.placement.function for site in rewriter.plan(Net(), "ga", **options).sites] == functions


def test_the_parameters_of_an_activation_are_kept() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ELU(0.3), nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 2))
    after = rewriter.rewrite(model, "ga", lifted=False).model
    x = torch.linspace(-3, 3, 31)
    torch.testing.assert_close(after[3](x), F.leaky_relu(x, 0.2))
    torch.testing.assert_close(after[1](x), adversarial("elu", saturation=0.3)(x))


def test_an_alpha_too_small_names_the_least_that_works() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    with pytest.raises(rewriter.UsageError, match=r"expected alpha >= 0\.12\d+ for gelu; found alpha = 0\.1"):
        rewriter.plan(model, "ga", alpha=0.1)


def test_a_slope_per_channel_makes_way_for_one_slope_and_the_budget_says_so() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.Linear(8, 8), nn.PReLU(8), nn.Linear(8, 2))
    result = rewriter.rewrite(model, "ga")
    assert [(s.parameters_before, s.parameters_after) for s in result.recipe.sites] == [(8, 0), (8, 1)]
    x = torch.linspace(-3, 3, 31)
    torch.testing.assert_close(result.model[1](x), adversarial("leaky_relu", negative_slope=0.25)(x))
    torch.testing.assert_close(result.model[3](x), F.leaky_relu(x, 0.25) + x)


OWN = [("x*sigmoid(2*x)", 0.7), ("tanh(max(x,0))", 1.0), ("max(x,0)**3/6", 0.5)]


@pytest.mark.parametrize(("formula", "alpha"), OWN)
def test_a_sites_own_formula_alternates_with_its_adversarial_function(
    site_with: Callable[..., Site], formula: str, alpha: float
) -> None:
    method, config, site = GA(), GAConfig(alpha=alpha), site_with(formula)
    assert method.refuse(site, config) is None
    last, before = (method.place(site, rank, config) for rank in (0, 1))
    assert (last.function, before.function) == (f"{formula} + {repr(alpha).removesuffix('.0')}x", f"g[{formula}]")
    f, g = (method.build(placement.settings, -1) for placement in (last, before))
    x = torch.linspace(-4.03, 4, 101, dtype=torch.float64, requires_grad=True)
    plain = activation(formula)(x)
    torch.testing.assert_close(f(x), plain + alpha * x)
    (slope,) = torch.autograd.grad(plain.sum(), x)
    (reciprocal,) = torch.autograd.grad(g(x).sum(), x)
    torch.testing.assert_close(reciprocal * (slope + alpha), torch.ones_like(x))


@pytest.mark.parametrize("name", ["hardshrink", "rrelu", "x/abs(x)", "x + (1-exp(-x))/(1+exp(-x))"])
def test_a_sites_own_function_without_a_formula_is_left_with_the_reason(
    site_with: Callable[..., Site], name: str
) -> None:
    reason = GA().refuse(site_with(name), GAConfig())
    assert reason is not None
    assert reason.endswith("name another function with --activation")
    assert GA().refuse(site_with(name), GAConfig(activation="tanh")) is None
    with pytest.raises(rewriter.UsageError):
        GA().refuse(site_with("relu"), GAConfig(activation=name))


def test_an_alpha_too_small_for_a_sites_own_formula_is_the_users_error(site_with: Callable[..., Site]) -> None:
    with pytest.raises(rewriter.UsageError, match=r"alpha >= 1\.0001 for x - 2\*tanh\(x\)"):
        GA().refuse(site_with("x - 2*tanh(x)"), GAConfig(alpha=0.9))


def test_a_formula_that_is_asked_for_is_recorded_and_restored_exactly(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    result = rewriter.rewrite(model, "ga", activation="x*sigmoid(2*x)", alpha=1 / 3)
    assert [site.placement.function for site in result.recipe.sites] == [
        "g[x*sigmoid(2*x)]",
        "x*sigmoid(2*x) + 0.3333333333333333x",
    ]
    rewriter.save(result, tmp_path / "out")
    x = torch.randn(5, 4)
    assert torch.equal(rewriter.restore(model, tmp_path / "out")(x), result.model(x))
