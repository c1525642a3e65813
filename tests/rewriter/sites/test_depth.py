from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
from torch import Tensor, nn

import rewriter


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Net(nn.Module):
    """Three MLPs, a, b and c, in an order given as a function."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.run = MethodType(run, self)
        self.a, self.b, self.c = Mlp(), Mlp(), Mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


class Opaque(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.sum() > 0 else -y


def ranks(model: nn.Module) -> dict[str, int]:
    return {site.path: site.rank for site in rewriter.plan(model, "ga").sites}


def test_execution_order_counts_not_definition_order() -> None:
    model = Net(lambda m, x: m.a(m.c(m.b(x))))
    assert ranks(model) == {"b.1": 2, "c.1": 1, "a.1": 0}


def test_parallel_branches_share_a_rank() -> None:
    assert ranks(Net(lambda m, x: m.c(m.a(x) + m.b(x)))) == {"a.1": 1, "b.1": 1, "c.1": 0}


def test_depth_is_the_longest_path() -> None:
    assert ranks(Net(lambda m, x: m.c(x) + m.b(m.a(x))))["c.1"] == ranks(Net(lambda m, x: m.c(x) + m.b(m.a(x))))["a.1"]
    assert ranks(Net(lambda m, x: m.c(x + m.b(m.a(x))))) == {"a.1": 2, "b.1": 1, "c.1": 0}


def test_children_of_an_untraceable_module_run_in_series_between_its_neighbours() -> None:
    model = nn.Sequential(Mlp(), Opaque(lambda m, x: m.a(m.b(m.c(x)))), Mlp())
    assert ranks(model) == {"0.1": 4, "1.a.1": 3, "1.b.1": 2, "1.c.1": 1, "2.1": 0}


class Choice(nn.ModuleDict):
    """Code that no trace follows chooses one of its entries."""

    def forward(self, x: Tensor) -> Tensor:
        return self["a" if x.sum() > 0 else "b"](x)


def test_entries_of_a_module_dict_are_alternatives_at_one_depth() -> None:
    model = nn.Sequential(Mlp(), Choice({"a": Mlp(), "b": Mlp()}), Mlp())
    assert ranks(model) == {"0.1": 2, "1.a.1": 1, "1.b.1": 1, "2.1": 0}


@pytest.mark.parametrize(
    ("method", "plain", "alternate"), [("ga", "gelu + 1x", "g[gelu]"), ("sa", "gelu/4", "A[gelu/4]")]
)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_functions_alternate_and_the_last_site_has_the_plain_one(
    method: str, plain: str, alternate: str, count: int
) -> None:
    recipe = rewriter.plan(nn.Sequential(*[Mlp() for _ in range(count)], nn.Linear(4, 4)), method)
    expected = [plain, alternate] * count
    assert [site.placement.function for site in recipe.sites] == expected[:count][::-1]


def test_alternation_counts_rewritten_sites_alone() -> None:
    model = nn.Sequential(Mlp(), Mlp(), nn.Linear(4, 1), nn.GELU(), nn.Linear(1, 4))
    recipe = rewriter.plan(model, "sa")
    assert [site.placement.function for site in recipe.sites] == ["A[gelu/4]", "gelu/4"]
    assert [site.path for site in recipe.sites] == ["0.1", "1.1"]
    assert "the budget leaves" in recipe.misses[0].reason
