from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from passes.functions.activations import CRReLU
from passes.swap import Swap, SwapConfig
from rewriter.sites import Site


class SpelledOut(nn.Module):
    """SiLU as x·sigmoid(x) in a block of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(h))


def test_every_site_gets_a_crrelu_of_its_own_unless_told_otherwise() -> None:
    model = nn.Sequential(
        nn.Conv1d(3, 4, 1), nn.ReLU(), nn.Conv1d(4, 4, 1), nn.Flatten(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2)
    )
    result = rewriter.rewrite(model, "swap")
    assert [type(result.model[i]) for i in (1, 5)] == [CRReLU, CRReLU]
    assert result.recipe.parameters_after == result.recipe.parameters_before + 2


def test_the_swapped_function_runs_at_its_site() -> None:
    model, x = rewriter.rewrite(nn.Sequential(SpelledOut()), "swap", activation="mish").model, torch.randn(5, 4)
    torch.testing.assert_close(model(x), model[0].fc2(F.mish(model[0].fc1(x))))


def test_an_activation_swapped_away_and_back_computes_the_same() -> None:
    model, x = nn.Sequential(SpelledOut(), nn.Linear(4, 2)), torch.randn(5, 4)
    away = rewriter.rewrite(model, "swap", activation="tanh").model
    assert not torch.allclose(away(x), model(x))
    back = rewriter.rewrite(away, "swap", activation="silu").model
    torch.testing.assert_close(back(x), model(x))


def test_a_site_that_has_the_activation_already_is_left_with_that_reason() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2))
    recipe = rewriter.plan(model, "swap", activation="relu")
    assert [site.path for site in recipe.sites] == ["3"]
    assert recipe.misses[0].reason == "it is relu already"


def test_a_site_with_other_parameters_is_no_such_site() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.3), nn.Linear(8, 2))
    assert rewriter.plan(model, "swap", activation="leaky_relu").sites


def test_an_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(rewriter.UsageError, match="did you mean 'crrelu'"):
        rewriter.plan(nn.Sequential(SpelledOut()), "swap", activation="crelu")


@pytest.mark.parametrize("name", ["x*sigmoid(2*x)", "hardshrink", "rrelu"])
def test_whatever_function_a_site_has_is_swapped(site_with: Callable[..., Site], name: str) -> None:
    assert Swap().refuse(site_with(name), SwapConfig()) is None
    assert Swap().place(site_with(name), 0, SwapConfig()).function == "crrelu"


def test_a_formula_is_put_there_recorded_and_restored_exactly(tmp_path: Path) -> None:
    model, x = nn.Sequential(SpelledOut(), nn.Linear(4, 2)), torch.randn(5, 4)
    result = rewriter.rewrite(model, "swap", activation="x*sigmoid(2*x)")
    h = model[0].fc1(x)
    torch.testing.assert_close(result.model(x), model[1](model[0].fc2(h * torch.sigmoid(2 * h))))
    assert result.recipe.sites[0].placement.function == "x*sigmoid(2*x)"
    rewriter.save(result, tmp_path / "out")
    assert torch.equal(rewriter.restore(model, tmp_path / "out")(x), result.model(x))


def test_a_site_that_has_the_formula_already_is_left_with_that_reason(site_with: Callable[..., Site]) -> None:
    config = SwapConfig(activation="x*sigmoid(2*x)")
    assert Swap().refuse(site_with("x*sigmoid(2*x)"), config) == "it is x*sigmoid(2*x) already"


@pytest.mark.parametrize("text", ["hardshrink", "x*sigmoid(", "x/abs(x)"])
def test_a_function_without_a_formula_that_is_asked_for_is_an_error(site_with: Callable[..., Site], text: str) -> None:
    with pytest.raises(rewriter.UsageError):
        Swap().refuse(site_with("relu"), SwapConfig(activation=text))
