from __future__ import annotations

import pytest
import torch
from torch import nn

import rewriter
from passes.original import original_activation
from rewriter.recipe import SiteRecord

X = torch.linspace(-4, 4, 81)


def recorded(text: str) -> SiteRecord:
    recipe = rewriter.plan(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), "swap")
    return recipe.sites[0].model_copy(update={"activation": text})


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("gelu", nn.GELU()),
        ("leaky_relu(negative_slope=0.3333333333333333)", nn.LeakyReLU(1 / 3)),
        ("hardtanh(min_val=-0.5, max_val=2.5)", nn.Hardtanh(-0.5, 2.5)),
        ("tanh(max(x,0))", lambda x: torch.tanh(torch.relu(x))),
        ("x*sigmoid(2*x)", lambda x: x * torch.sigmoid(2 * x)),
        ("max(x,0)**3/6", lambda x: torch.relu(x) ** 3 / 6),
        ("x", lambda x: x),
    ],
)
def test_what_a_recipe_records_is_read_back_exactly(text: str, function: nn.Module) -> None:
    original = original_activation(recorded(text))
    assert original is not None
    torch.testing.assert_close(original(X), function(X), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("text", ["hardshrink", "threshold(threshold=1.0, value=20.0)", "rrelu", "x/abs(x)"])
def test_what_has_no_formula_is_none(text: str) -> None:
    assert original_activation(recorded(text)) is None
