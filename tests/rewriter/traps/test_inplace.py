"""Activations that overwrite their input: never taken for dead code, and left alone where the overwriting matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter


class Block(nn.Module):
    def __init__(self, run: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(4, 8), nn.Linear(8, 4), nn.ReLU(inplace=True)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def result_unused(m: Any, x: Tensor) -> Tensor:
    y = m.fc1(x)
    m.act(y)
    return m.fc2(y)


def function_result_unused(m: Any, x: Tensor) -> Tensor:
    y = m.fc1(x)
    F.relu_(y)
    return m.fc2(y)


def method_result_unused(m: Any, x: Tensor) -> Tensor:
    y = m.fc1(x)
    y.relu_()
    return m.fc2(y)


def read_later(m: Any, x: Tensor) -> Tensor:
    y = m.fc1(x)
    return m.fc2(m.act(y)) + y.sum()


def chained(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(m.fc1(x)))


def read_before(m: Any, x: Tensor) -> Tensor:
    y = m.fc1(x)
    total = y.sum()
    return m.fc2(m.act(y)) + total


@pytest.mark.parametrize("run", [result_unused, function_result_unused, method_result_unused, read_later])
@pytest.mark.parametrize("method", ["ga", "hdfgd", "swap"])
def test_overwriting_that_later_code_reads_is_left_alone_with_that_reason(
    run: Callable[[Any, Tensor], Tensor], method: str
) -> None:
    options = {"activation": "gelu"} if method == "hdfgd" else {}
    with pytest.raises(rewriter.NoSiteError, match="it overwrites its input, from Linear, which is read later"):
        rewriter.plan(Block(run), method, **options)


@pytest.mark.parametrize("run", [result_unused, function_result_unused, method_result_unused, read_later])
def test_such_a_model_computes_the_same_beside_a_site_that_is_rewritten(run: Callable[[Any, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
    model, x = nn.Sequential(Block(run), mlp), torch.randn(5, 4)
    result = rewriter.rewrite(model, "ga", lifted=False)
    assert [site.path for site in result.recipe.sites] == ["1.1"]
    torch.testing.assert_close(result.model(x), model(x))


@pytest.mark.parametrize("run", [chained, read_before])
def test_overwriting_that_nobody_sees_is_replaced(run: Callable[[Any, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model, x = Block(run), torch.randn(5, 4)
    result = rewriter.rewrite(model, "ga", lifted=False)
    assert [site.path for site in result.recipe.sites] == ["act"]
    torch.testing.assert_close(result.model(x), model(x))


def test_dead_calls_of_a_replaced_code_are_kept() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.counts = nn.Linear(4, 8), nn.Linear(8, 4), Counts()

        def forward(self, x: Tensor) -> Tensor:
            y = F.gelu(self.fc1(x))
            self.counts(y)
            return self.fc2(y)

    result = rewriter.rewrite(nn.Sequential(Watched(), nn.Linear(4, 4)), "ga")
    assert len(result.recipe.sites) == 1
    result.model(torch.randn(2, 4))
    assert result.model[0].counts.calls == 1
