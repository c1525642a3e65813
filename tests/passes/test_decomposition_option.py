from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rewriter
from rewriter.recipe import Recipe
from rewriter.storage import save

EXPRESSION = "x1*sigmoid(x2)"


def mlp(act: nn.Module | None = None, blocks: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    act = nn.SiLU() if act is None else act
    return nn.Sequential(*[nn.Sequential(nn.Linear(6, 24), act, nn.Linear(24, 6)) for _ in range(blocks)])


@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_an_expression_is_the_same_as_the_library_entry_that_it_spells(method: str) -> None:
    x = torch.randn(5, 6)
    by_text = rewriter.rewrite(mlp(), method, decomposition=EXPRESSION, activation="silu")
    by_name = rewriter.rewrite(mlp(), method, decomposition="silu/2")
    assert [site.placement.branches for site in by_text.recipe.sites] == [2, 2]
    assert torch.equal(by_text.model(x), by_name.model(x))


@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_the_recipe_holds_the_text_and_restores_the_model(method: str, tmp_path: Path) -> None:
    before = mlp(nn.Softplus(beta=2.0))
    result = rewriter.rewrite(before, method, decomposition="x1+log(1+exp(-2*x2))/2")
    save(result, tmp_path / "out")
    recipe = Recipe.read(tmp_path / "out" / "recipe.json")
    assert (recipe.sites, recipe.linears) == (result.recipe.sites, result.recipe.linears)
    settings = recipe.sites[0].placement.settings
    assert (settings["decomposition"], settings["of"]) == ("x1+log(1+exp(-2*x2))/2", "softplus")
    x = torch.randn(5, 6)
    restored = rewriter.restore(mlp(nn.Softplus(beta=2.0)), tmp_path / "out")
    assert torch.equal(restored(x), result.model(x))


@pytest.mark.parametrize("act", [nn.ELU(0.3), nn.CELU(0.3), nn.Softplus(beta=2.5), nn.LeakyReLU(0.2)])
@pytest.mark.parametrize("named", [False, True])
def test_the_parameters_of_the_sites_own_activation_are_kept(act: nn.Module, named: bool) -> None:
    name = {"ELU": "elu/2", "CELU": "celu/2", "Softplus": "softplus/2", "LeakyReLU": "leaky_relu/2"}[type(act).__name__]
    model = rewriter.rewrite(mlp(act), "hdfgd", **({"decomposition": name} if named else {})).model
    points = torch.linspace(-5, 5, 33)
    torch.testing.assert_close(model[0][1](torch.cat([points, points])), act(points), atol=1e-6, rtol=1e-5)


def test_a_library_name_brings_its_own_activation() -> None:
    recipe = rewriter.plan(mlp(nn.ReLU()), "hdfgd", decomposition="tanh/4")
    assert [site.placement.function for site in recipe.sites] == ["tanh/4", "tanh/4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decomposition": "x1*sigmoid(x2)", "activation": "gelu"}, "where F = .* at x = .* instead of"),
        ({"decomposition": "x1*tanh(x2)"}, r"F\(x,…,x\) = silu\(x\)"),
        ({"decomposition": "x1*os.system(x2)"}, r"found 'os.system\(x2\)'"),
        ({"decomposition": "x1*sigmod(x2)"}, "did you mean 'sigmoid'"),
        ({"decomposition": "x1/x2"}, "x2 = 0"),
        ({"decomposition": "silu/3"}, "did you mean 'silu/2'"),
        ({"decomposition": "silu/2", "activation": "gelu"}, "a decomposition of gelu; found 'silu/2'"),
        ({"decomposition": "x1*sigmoid(x2)", "terms": 3}, "terms = 2 for .*; found terms = 3"),
        ({"terms": 3}, "expected terms = 2 for silu; found terms = 3"),
        ({"activation": "silo"}, "did you mean 'silu'"),
    ],
)
@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_a_decomposition_that_does_not_fit_is_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(rewriter.UsageError, match=message) as refusal:
        rewriter.plan(mlp(), method, **options)
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 2
