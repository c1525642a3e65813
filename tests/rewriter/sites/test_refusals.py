from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter


class Net(nn.Module):
    """fc1 and fc2 in an arrangement given as a function."""

    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.forward = MethodType(run, self)
        self.fc1, self.fc2, self.other, self.act = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Sigmoid()
        self.conv = nn.Conv2d(8, 8, 1)


@dataclass
class Output:
    hidden: Tensor


def hidden_before_used_again(m: Any, x: Tensor) -> Tensor:
    h = m.fc1(x)
    return m.fc2(m.act(h)) + h


def squeeze_excite(m: Any, x: Tensor) -> Tensor:
    return m.conv(x * m.act(m.fc1(x.mean((2, 3)))).view(-1, 8, 1, 1).expand_as(x))


def after_addition(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(x + m.fc1(x)))


def attention(m: Any, x: Tensor) -> Tensor:
    return m.fc2(torch.sigmoid(m.fc1(x) @ x.transpose(-2, -1)) @ x)


MISSES: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "squeeze-excite": (squeeze_excite, "its output gates another value"),
    "attention weights": (attention, "it acts on a product of two values: matmul"),
    "input": (lambda m, x: m.fc2(m.act(x)), "it follows an input, not a linear, convolution or embedding"),
    "output": (lambda m, x: m.act(m.fc1(x)), "it is the model's output, not a hidden value"),
    "output, reshaped": (lambda m, x: m.act(m.fc1(x)).squeeze(-1), "it is the model's output, not a hidden value"),
    "output in a dict": (lambda m, x: {"y": [m.act(m.fc1(x))]}, "it is the model's output, not a hidden value"),
    "output in a dataclass": (lambda m, x: Output(m.act(m.fc1(x))), "it is the model's output, not a hidden value"),
}


@pytest.mark.parametrize("case", MISSES)
def test_an_activation_that_is_no_hidden_value_of_a_layer_is_a_miss_with_its_reason(case: str) -> None:
    run, reason = MISSES[case]
    captured = rewriter.capture(Net(run))
    assert captured.sites == ()
    assert [miss.reason for miss in captured.misses if not miss.reason.startswith("no traced code")] == [reason]


def hidden_used_again(m: Any, x: Tensor) -> Tensor:
    h = m.act(m.fc1(x))
    return m.fc2(h) + h.sum()


def weight_read_elsewhere(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(m.fc1(x))) + torch.nn.functional.linear(x, m.fc1.weight)


def first_called_twice(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(m.fc1(x))) + m.other(m.fc1(x) + 1)


def second_called_twice(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(m.fc1(x))) + m.fc2(m.other(x))


LONE: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "pre-activation used again": (hidden_before_used_again, "its input, from Linear, has another user"),
    "addition": (after_addition, "add feeds it"),
    "hidden value used again": (hidden_used_again, "its hidden value has 2 users"),
    "weight read elsewhere": (weight_read_elsewhere, "fc1.weight is read outside its module"),
    "first linear called twice": (first_called_twice, "fc1 is also called outside this MLP"),
    "second linear called twice": (second_called_twice, "fc2 is also called outside this MLP"),
}


@pytest.mark.parametrize("case", LONE)
def test_an_mlp_whose_linears_cannot_change_shape_is_a_lone_site_with_its_reason(case: str) -> None:
    run, reason = LONE[case]
    (site,) = rewriter.capture(Net(run)).sites
    assert (site.kind, site.consumer, site.not_an_mlp) == ("linear", None, reason)


@pytest.mark.parametrize("case", LONE)
def test_such_a_site_is_refused_by_methods_for_mlps_and_still_runs_under_ga(case: str) -> None:
    run, reason = LONE[case]
    with pytest.raises(rewriter.NoSiteError, match=reason):
        rewriter.plan(Net(run), "hdfgd")
    assert rewriter.rewrite(Net(run), "ga").model(torch.rand(2, 8)).shape == (2, 8)


def test_reading_the_dtype_of_a_weight_is_no_obstacle() -> None:
    (site,) = rewriter.capture(Net(lambda m, x: m.fc2(m.act(m.fc1(x.to(m.fc1.weight.dtype)))))).sites
    assert site.kind == "mlp"
