from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from passes.hdfgd import HDFGD, HDFGDConfig
from rewriter.recipe import Recipe
from rewriter.sites import Site

SPLITS = [
    ("gelu", 2, nn.GELU()),
    ("tanh", 2, nn.Tanh()),
    ("tanh", 4, nn.Tanh()),
    ("sigmoid", 2, nn.Sigmoid()),
    ("gelu_tanh", 2, nn.GELU("tanh")),
    ("gelu_tanh", 3, nn.GELU("tanh")),
    ("gelu_tanh", 4, nn.GELU("tanh")),
    ("silu", 2, nn.SiLU()),
    ("mish", 2, nn.Mish()),
    ("hardswish", 2, nn.Hardswish()),
]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 10), nn.Linear(10, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.gelu(self.fc1(x)))


def give_every_branch_the_original_weights(after: nn.Module, before: nn.Module, recipe: Recipe) -> None:
    """Fill the packed linears by hand: the original weight once for each branch, one below the other."""
    branches = {site.producer: site.placement.branches for site in recipe.sites}
    with torch.no_grad():
        for linear in recipe.linears:
            old, new = before.get_submodule(linear.path), after.get_submodule(linear.path)
            copies = branches.get(linear.path, 1)
            new.weight.copy_(old.weight.repeat(copies, 1))
            if linear.bias:
                new.bias.copy_(old.bias.repeat(copies))


@pytest.mark.parametrize(("name", "terms", "act"), SPLITS, ids=[f"{name}/{terms}" for name, terms, _ in SPLITS])
def test_equal_branches_of_full_width_compute_the_original_model(name: str, terms: int, act: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), act, nn.Dropout(), nn.Linear(12, 8), act, nn.Linear(8, 5)).eval()
    result = rewriter.rewrite(model, "hdfgd", terms=terms, width="keep")
    assert [site.placement.branches for site in result.recipe.sites] == [terms, terms]
    give_every_branch_the_original_weights(result.model, model, result.recipe)
    x = torch.randn(64, 6)
    torch.testing.assert_close(result.model(x), model(x), rtol=0, atol=1e-5)


def test_equal_branches_compute_the_original_model_through_a_functional_block() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Functional(), Functional())
    result = rewriter.rewrite(model, "hdfgd", terms=2, width="keep")
    give_every_branch_the_original_weights(result.model, model, result.recipe)
    x = torch.randn(64, 6)
    torch.testing.assert_close(result.model(x), model(x), rtol=0, atol=1e-5)


def test_equal_branches_compute_the_original_vision_transformer() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=5).eval()
    nn.init.normal_(model.head.weight)
    result = rewriter.rewrite(model, "hdfgd", terms=2, width="keep")
    give_every_branch_the_original_weights(result.model, model, result.recipe)
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        torch.testing.assert_close(result.model(x), model(x), rtol=1e-4, atol=1e-4)


def test_the_branches_are_packed_one_after_the_other() -> None:
    model = nn.Sequential(nn.Linear(6, 12), nn.SiLU(), nn.Linear(12, 5))
    after = rewriter.rewrite(model, "hdfgd", terms=2, width=7).model
    x = torch.randn(9, 6)
    value, gate = (F.linear(x, after[0].weight[rows], after[0].bias[rows]) for rows in (slice(0, 7), slice(7, 14)))
    torch.testing.assert_close(after(x), after[2](value * torch.sigmoid(gate)))


def test_the_channels_are_the_last_dimension_of_longer_inputs() -> None:
    model = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 5))
    after = rewriter.rewrite(model, "hdfgd").model
    x = torch.randn(3, 7, 6)
    torch.testing.assert_close(after(x).reshape(-1, 5), after(x.reshape(-1, 6)))


@pytest.mark.parametrize(
    ("activation", "terms", "name"), [(None, None, "gelu/4"), (None, 3, "gelu/3"), ("tanh", 2, "tanh/2")]
)
def test_the_options_choose_the_decomposition(activation: str | None, terms: int | None, name: str) -> None:
    model = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 5))
    recipe = rewriter.plan(model, "hdfgd", activation=activation, terms=terms)
    assert [site.placement.function for site in recipe.sites] == [name]


def test_every_site_has_the_same_function_whatever_its_depth() -> None:
    model = nn.Sequential(*[Functional() for _ in range(4)])
    assert {site.placement.function for site in rewriter.plan(model, "hdfgd").sites} == {"gelu/4"}


def test_what_is_no_mlp_is_left_with_the_reason() -> None:
    norm = nn.LayerNorm((7, 5))
    model = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 5), norm, nn.GELU(), nn.Linear(5, 5))
    recipe = rewriter.plan(model, "hdfgd")
    assert [site.path for site in recipe.sites] == ["1"]
    assert recipe.misses[0].reason == "not an MLP: LayerNorm stands between the first linear and the activation"


def test_terms_that_a_function_does_not_have_are_refused_with_those_it_has() -> None:
    model = nn.Sequential(nn.Linear(6, 12), nn.SiLU(), nn.Linear(12, 5))
    with pytest.raises(rewriter.UsageError, match="expected terms = 2 for silu; found terms = 4"):
        rewriter.plan(model, "hdfgd", terms=4)


def test_a_function_without_a_decomposition_is_refused_when_it_is_asked_for() -> None:
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 9))
    with pytest.raises(rewriter.UsageError, match="expected an activation that has a decomposition; found 'identity'"):
        rewriter.plan(model, "hdfgd", activation="identity")


def test_a_sites_own_function_without_a_decomposition_is_left_with_the_reason(site_with: Callable[..., Site]) -> None:
    for name, parameters in [("max(x,0)**3", {}), ("hardshrink", {"lambd": 0.25})]:
        label = "hardshrink(lambd=0.25)" if parameters else name
        assert HDFGD().refuse(site_with(name, **parameters), HDFGDConfig()) == (
            f"no decomposition of {label} is known: "
            "name one with --decomposition, or another function with --activation"
        )
        assert HDFGD().refuse(site_with(name, **parameters), HDFGDConfig(activation="silu")) is None
        assert HDFGD().refuse(site_with(name, **parameters), HDFGDConfig(decomposition="tanh/4")) is None


def test_a_decomposition_of_a_sites_own_formula_splits_it(site_with: Callable[..., Site]) -> None:
    config, site = HDFGDConfig(decomposition="x1*sigmoid(2*x2)"), site_with("x*sigmoid(2*x)")
    assert HDFGD().refuse(site, config) is None
    placement = HDFGD().place(site, 0, config)
    layer = HDFGD().build(placement.settings, -1)
    x = torch.linspace(-5, 5, 33)
    torch.testing.assert_close(layer(torch.cat([x, x])), x * torch.sigmoid(2 * x))
    first, second = torch.randn(2, 7)
    torch.testing.assert_close(layer(torch.cat([first, second])), first * torch.sigmoid(2 * second))


def test_an_expression_cannot_be_checked_against_a_function_without_a_formula(site_with: Callable[..., Site]) -> None:
    reason = HDFGD().refuse(site_with("hardshrink"), HDFGDConfig(decomposition="x1*sigmoid(2*x2)"))
    assert reason == "no formula of hardshrink is known: name another function with --activation"


def test_an_expression_that_is_another_function_than_the_sites_own_formula_is_an_error(
    site_with: Callable[..., Site],
) -> None:
    with pytest.raises(rewriter.UsageError, match=r"F\(x,…,x\) = max\(x,0\)\*\*3\(x\)"):
        HDFGD().refuse(site_with("max(x,0)**3"), HDFGDConfig(decomposition="x1*sigmoid(2*x2)"))


@pytest.mark.parametrize("name", ["identity", "max(x,0)**3", "hardshrink"])
def test_asking_for_a_function_without_a_decomposition_is_an_error(site_with: Callable[..., Site], name: str) -> None:
    with pytest.raises(rewriter.UsageError):
        HDFGD().refuse(site_with("relu"), HDFGDConfig(activation=name))


def test_a_decomposition_of_a_formula_that_is_asked_for_is_restored(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 5))
    result = rewriter.rewrite(model, "hdfgd", decomposition="x1*sigmoid(2*x2)", activation="x*sigmoid(2*x)")
    rewriter.save(result, tmp_path / "out")
    x = torch.randn(5, 6)
    assert torch.equal(rewriter.restore(model, tmp_path / "out")(x), result.model(x))
