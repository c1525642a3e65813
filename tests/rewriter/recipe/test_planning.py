from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter


def blocks(count: int = 3) -> nn.Sequential:
    return nn.Sequential(*[nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)) for _ in range(count)])


def paths(**options: Any) -> list[str]:
    return [site.path for site in rewriter.plan(blocks(), "hdfgd", **options).sites]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["0.1", "1.1", "2.1"]),
        ({"include": ["1.*"]}, ["1.1"]),
        ({"include": "1.*"}, ["1.1"]),
        ({"exclude": ["1.*", "2.0"]}, ["0.1"]),
        ({"include": ["[01].*"], "exclude": ["0.*"]}, ["1.1"]),
    ],
)
def test_include_and_exclude_filter_by_globs_on_module_paths(options: dict[str, Any], expected: list[str]) -> None:
    assert paths(**options) == expected


def test_filtered_sites_are_misses_that_say_so() -> None:
    recipe = rewriter.plan(blocks(), "hdfgd", include=["1.*"], exclude=["0.*"])
    assert {miss.path: miss.reason for miss in recipe.misses} == {
        "0.1": "no include pattern matches it",
        "2.1": "no include pattern matches it",
    }


class Tied(nn.Module):
    """An embedding and a head that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body, self.head = nn.Embedding(20, 4), blocks(1), nn.Linear(4, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(ids)))


def test_tied_parameters_are_counted_once() -> None:
    recipe = rewriter.plan(Tied(), "hdfgd")
    assert recipe.parameters_before == sum(p.numel() for p in Tied().parameters()) == 80 + 4 * 8 + 8 + 8 * 4 + 4


@pytest.mark.parametrize("method", ["ga", "hdfgd", "sa", "swap"])
@pytest.mark.parametrize("width", ["match", "paper", "keep", 5])
def test_the_planned_parameters_are_those_of_the_rewritten_model(method: str, width: Any) -> None:
    result = rewriter.rewrite(blocks(), method, width=width)
    totals = result.report.totals
    assert sum(p.numel() for p in result.model.parameters()) == totals.parameters_after
    assert sum(s.parameters_after - s.parameters_before for s in result.recipe.sites) == (
        totals.parameters_after - totals.parameters_before
    )


def test_the_freed_parameters_of_a_trainable_activation_belong_to_the_budget() -> None:
    model = nn.Sequential(nn.Linear(4, 9), nn.PReLU(9), nn.Linear(9, 4))
    recipe = rewriter.plan(model, "hdfgd", activation="tanh", terms=2)
    assert recipe.sites[0].parameters_before == 4 * 9 + 9 + 9 + 9 * 4 + 4
    assert recipe.sites[0].hidden == (9, (4 * 9 + 9 + 9 + 9 * 4) // (2 * 5 + 4))


def test_planning_leaves_the_model_and_its_weights_alone() -> None:
    model = blocks()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modules = list(model.modules())
    rewriter.plan(model, "sa")
    assert all(now is then for now, then in zip(model.modules(), modules, strict=True))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
