"""Activations that a user wrote as plain functions are found, and what the model computes stays the same."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from rewriter.tracing.named_functions import activation_functions
from torch import Tensor, nn

import rewriter


def written_out_gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def squared(x: Tensor) -> Tensor:
    return x * x


def scaled_relu(x: Tensor, scale: float = 1.0) -> Tensor:
    return F.relu(x) * scale


def through_another(x: Tensor) -> Tensor:
    return written_out_gelu(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return squared(self.second(written_out_gelu(self.first(x)))) + scaled_relu(x)


class Nested(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(through_another(self.first(x)))


def test_only_functions_of_one_argument_that_compute_a_known_activation_are_kept_whole() -> None:
    assert activation_functions([nn.Sequential(Net())[0], nn.Linear(2, 2)]) == (written_out_gelu,)


@pytest.mark.parametrize("kind", [Net, Nested])
def test_it_is_the_activation_of_an_mlp(kind: type[Net]) -> None:
    (site,) = rewriter.capture(kind()).sites
    assert (site.kind, site.activation.name) == ("mlp", "gelu")


@pytest.mark.parametrize("kind", [Net, Nested])
def test_the_activation_itself_in_its_place_computes_the_same(kind: type[Net]) -> None:
    model, x = kind().eval(), torch.randn(5, 4)
    same = rewriter.rewrite(model, "ga", lifted=False).model  # f itself at the last depth
    assert any(isinstance(module, nn.GELU) for module in same.modules())
    torch.testing.assert_close(same(x), model(x))


@pytest.mark.parametrize("method", ["ga", "hdfgd"])
def test_it_is_rewritten_and_trains(method: str) -> None:
    model = rewriter.rewrite(Net(), method).model
    model(torch.randn(5, 4)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_users_function_is_left_as_it_was() -> None:
    before = written_out_gelu
    rewriter.capture(Net())
    assert written_out_gelu is before
