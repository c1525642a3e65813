"""Gates and what they gate: which factor of a product is a hidden value, and what is out of scope."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn.intrinsic.quantized import ConvReLU2d
from torch.ao.nn.quantized import Conv2d

import rewriter
from rewriter.sites.out_of_scope import OUT_OF_SCOPE, out_of_scope


class Net(nn.Module):
    """Layers of width 8 and activations in an arrangement given as a function."""

    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.forward = MethodType(run, self)
        self.fc1, self.fc2, self.fc3 = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.act, self.gate, self.soft = nn.ReLU(), nn.Sigmoid(), nn.Softmax(-1)


def excited_before(m: Any, x: Tensor) -> Tensor:
    h = m.fc1(x)
    return m.fc3(m.act(h * m.gate(m.fc2(h.mean(1, keepdim=True)))))


def excited_after(m: Any, x: Tensor) -> Tensor:
    h = m.act(m.fc1(x))
    return m.fc3(h * m.gate(m.fc2(h.mean(1, keepdim=True))).expand_as(h))


def halves_of_it(m: Any, x: Tensor) -> Tensor:
    u, v = m.act(m.fc1(x)).chunk(2, -1)
    return m.fc3(torch.cat([u * v.roll(1), v], -1))


def over_its_norm(m: Any, x: Tensor) -> Tensor:
    h = m.fc1(x)
    return m.fc2(m.act(h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True))))


def attended(m: Any, x: Tensor) -> Tensor:
    q, v = m.fc1(x), m.fc2(x)
    return m.fc3(m.act(m.soft(q @ q.transpose(-2, -1)) @ v))


def windows(m: Any, x: Tensor) -> Tensor:
    h = m.fc1(x)
    return m.fc2(m.act(h.unfold(1, 2, 2).reshape(h.shape[0] // 1, -1, 8)))


@pytest.mark.parametrize(
    ("run", "producer"),
    [
        (excited_before, "fc1"),
        (excited_after, "fc1"),
        (halves_of_it, "fc1"),
        (over_its_norm, "fc1"),
        (attended, "fc2"),
        (windows, "fc1"),
    ],
)
def test_a_value_that_is_only_weighed_is_hidden_and_comes_from_its_layer(
    run: Callable[[Any, Tensor], Any], producer: str
) -> None:
    (site,) = (site for site in rewriter.capture(Net(run)).sites if site.path == "act")
    assert site.producer == producer
    x = torch.rand(2, 4, 8)
    assert rewriter.rewrite(Net(run), "ga").model(x).isfinite().all()


def gate(m: Any, x: Tensor) -> Tensor:
    return m.fc3((m.act(m.fc1(x)) * x).sum(1))


def bounded_score(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.soft((m.act(m.fc1(x)) * 16 + x).view(2, -1, 8)) @ x.transpose(-2, -1))


def activated_twice(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(torch.nn.functional.adaptive_avg_pool2d(m.gate(m.fc1(x)), 8)))


def of_two_branches(m: Any, x: Tensor) -> Tensor:
    return m.fc3(m.act(m.fc1(x) * m.fc2(x)))


def of_a_parameter(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.fc1(x) + m.act(m.fc3.bias))


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (of_a_parameter, "it acts on a parameter of its own: fc3.bias"),
        (gate, "its output gates another value"),
        (bounded_score, "its output is an attention score, which a softmax reads"),
        (activated_twice, "it follows an activation, with no layer in between: Sigmoid"),
        (of_two_branches, "it acts on a product of two values: mul"),
    ],
)
def test_what_no_method_is_for_has_a_documented_reason(run: Callable[[Any, Tensor], Any], reason: str) -> None:
    captured = rewriter.capture(Net(run))
    assert [miss.reason for miss in captured.misses if miss.path == "act"] == [reason]
    assert out_of_scope(reason) is not None


def test_an_activation_fused_into_a_quantised_layer_and_one_behind_it_are_out_of_scope() -> None:
    model = nn.Sequential(ConvReLU2d(3, 4, 1), Conv2d(4, 4, 1), nn.Sigmoid(), nn.Flatten())
    misses = rewriter.capture(model).misses
    assert {(miss.path, miss.function) for miss in misses} == {("0", "relu"), ("2", "sigmoid")}
    assert all(miss.reason.startswith("its layer is quantised: ") for miss in misses)


def test_a_transposed_convolution_feeds_a_site() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert [site.producer for site in rewriter.capture(model).sites] == ["0"]
    assert rewriter.rewrite(model, "ga").model(torch.rand(1, 3, 4, 4)).isfinite().all()


def test_a_recurrent_kernel_and_a_softmax_are_out_of_scope() -> None:
    misses = rewriter.capture(nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 4), nn.Softmax(-1))).misses
    assert len(misses) == 2
    assert all(out_of_scope(miss.reason) for miss in misses)


@pytest.mark.parametrize(
    "reason",
    [
        "it follows floordiv, not a linear, convolution or embedding",
        "blocks.0 could not be traced (TraceError: control flow)",
        "act serves several layers, which one replacement would tie together",
        "the code of Attention makes tensors or keeps state, which a graph would freeze",
        "",
    ],
)
def test_a_limit_of_the_rewriter_is_not_declared_out_of_scope(reason: str) -> None:
    assert out_of_scope(reason) is None


def test_no_documented_reason_begins_like_another() -> None:
    for entry in OUT_OF_SCOPE:
        assert [other for other in OUT_OF_SCOPE if other.reason.startswith(entry.reason)] == [entry]
