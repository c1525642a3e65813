from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import rewriter
from passes.functions import decomposition
from passes.sa import SA, SAConfig
from rewriter.sites import Site


def blocks(count: int, act: type[nn.Module] = nn.GELU) -> nn.Sequential:
    return nn.Sequential(*[nn.Sequential(nn.Linear(6, 24), act(), nn.Linear(24, 6)) for _ in range(count)])


@pytest.mark.parametrize("combine", ["sum", "structure"])
def test_each_site_computes_its_function_of_its_branches(combine: str) -> None:
    model = rewriter.rewrite(blocks(2, nn.Tanh), "sa", alpha=0.5, combine=combine).model
    tanh = decomposition("tanh/4")
    x = torch.randn(5, 6)
    packed = model[0][0](x)
    expected = tanh.adversarial(0.5, combine, 4.0)(*packed.chunk(4, -1))
    torch.testing.assert_close(model[0][1](packed), expected)
    packed = model[1][0](x)
    torch.testing.assert_close(model[1][1](packed), tanh(*packed.clamp(-4, 4).chunk(4, -1)))


def test_the_trainable_coefficients_are_inside_the_budget() -> None:
    before = blocks(2)
    result = rewriter.rewrite(before, "sa")
    plain = rewriter.rewrite(before, "hdfgd")
    coefficients = sum(p.numel() for p in result.model[0][1].parameters())
    assert coefficients > 0
    assert not list(result.model[1][1].parameters())
    for after in (result, plain):
        assert all(site.parameters_after <= site.parameters_before for site in after.recipe.sites)
    assert result.recipe.sites[0].parameters_after == sum(p.numel() for p in result.model[0].parameters())


def test_a_change_of_the_coefficients_changes_the_output() -> None:
    model, x = rewriter.rewrite(blocks(2), "sa").model, torch.randn(5, 6)
    before = model(x)
    with torch.no_grad():
        for parameter in model[0][1].parameters():
            parameter.mul_(1.1).add_(0.1)
    assert not torch.allclose(model(x), before)


@pytest.mark.parametrize(
    ("options", "functions"),
    [
        ({}, ["A[gelu/4]", "gelu/4"]),
        ({"terms": 2}, ["A[gelu/2]", "gelu/2"]),
        ({"activation": "tanh"}, ["A[tanh/4]", "tanh/4"]),
    ],
)
def test_the_options_choose_the_pair(options: dict[str, Any], functions: list[str]) -> None:
    assert [site.placement.function for site in rewriter.plan(blocks(2), "sa", **options).sites] == functions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"combine": "summ"}, "combine"),
        ({"alpha": -1.0}, "alpha"),
        ({"terms": 5}, "terms = 2 or 3 or 4"),
        ({"activation": "identity"}, "an activation that has a decomposition"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(rewriter.UsageError, match=message):
        rewriter.plan(blocks(2), "sa", **options)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model = rewriter.rewrite(blocks(3, nn.Tanh), "sa").model
    x, target = torch.randn(64, 6), torch.randn(64, 6)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["max(x,0)**3", "hardshrink"])
def test_a_sites_own_function_without_a_decomposition_is_left_with_the_reason(
    site_with: Callable[..., Site], name: str
) -> None:
    assert SA().refuse(site_with(name), SAConfig()) == (
        f"no decomposition of {name} is known: name one with --decomposition, or another function with --activation"
    )
    assert SA().refuse(site_with(name), SAConfig(activation="silu")) is None
    with pytest.raises(rewriter.UsageError):
        SA().refuse(site_with("relu"), SAConfig(activation=name))


def test_a_decomposition_of_a_sites_own_formula_has_a_split_adversarial_function(
    site_with: Callable[..., Site],
) -> None:
    config, site = SAConfig(decomposition="x1*sigmoid(2*x2)"), site_with("x*sigmoid(2*x)")
    assert SA().refuse(site, config) is None
    placement = SA().place(site, 1, config)
    packed = torch.randn(5, 8)
    expected = decomposition("x1*sigmoid(2*x2)", "x*sigmoid(2*x)").adversarial(1.0)(*packed.chunk(2, -1))
    torch.testing.assert_close(SA().build(placement.settings, -1)(packed), expected)
