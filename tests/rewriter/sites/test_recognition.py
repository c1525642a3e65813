"""Activations are known by their values, whatever they are called; functions that only resemble them are not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from passes.functions import activation
from rewriter.sites.recognition import recognised, sample_points

WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: (x + x.abs()) / 2,
    "relu6": lambda x: x.clamp(0, 6),
    "selu": lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * torch.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
    "silu": lambda x: x * torch.sigmoid(x),
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "sigmoid": lambda x: 0.5 * (1 + torch.tanh(x / 2)),
    "tanh": lambda x: 2 * torch.sigmoid(2 * x) - 1,
    "softsign": lambda x: x / (1 + x.abs()),
    "logsigmoid": lambda x: -F.softplus(-x),
    "tanhshrink": lambda x: x - x.tanh(),
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,
    "hardswish": lambda x: x * F.relu6(x + 3) / 6,
    "squared_relu": lambda x: x.clamp(min=0) ** 2,
    "leaky_relu(negative_slope=0.2)": lambda x: torch.maximum(x, 0.2 * x),
    "leaky_relu": lambda x: torch.where(x < 0, x / 100, x),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "elu(saturation=0.3)": lambda x: x.clamp(min=0) + 0.3 * torch.expm1(x.clamp(max=0)),
    "celu(saturation=2)": lambda x: x.clamp(min=0) + 2 * torch.expm1(x.clamp(max=0) / 2),
    "hardtanh(min_val=-0.3, max_val=0.7)": lambda x: x.clamp(-0.3, 0.7),
    "softplus(beta=2)": lambda x: torch.logaddexp(torch.zeros_like(x), 2 * x) / 2,
    "softshrink(lambd=0.2)": lambda x: x - x.clamp(-0.2, 0.2),
    "hardshrink(lambd=0.7)": lambda x: x * (x.abs() > 0.7),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_an_activation_is_known_by_its_values(name: str) -> None:
    assert str(recognised(WRITTEN[name])) == name


@pytest.mark.parametrize("name", [name for name in WRITTEN if not name.startswith("hardshrink")])
def test_what_a_function_is_recognised_as_has_its_values(name: str) -> None:
    found = recognised(WRITTEN[name])
    assert found is not None
    points = torch.linspace(-30, 30, 601, dtype=torch.float64)
    values = activation(found.name, **found.parameters)(points)
    torch.testing.assert_close(values, WRITTEN[name](points), rtol=1e-6, atol=1e-6)


OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "the identity": lambda x: x,
    "a constant": lambda x: torch.zeros_like(x),
    "a scaled activation": lambda x: 2 * torch.tanh(x),
    "a shifted activation": lambda x: F.relu(x) - 0.5,
    "an activation of a scaled value": lambda x: torch.sigmoid(1.5 * x),
    "a GELU that is clipped far away": lambda x: F.gelu(x).clamp(max=500),
    "a ReLU that differs far below": lambda x: torch.where(x < -900, torch.ones_like(x), F.relu(x)),
    "a ReLU that differs by rounding of float16": lambda x: F.relu(x).half().double(),
    "one that is not bounded below": lambda x: x.clamp(max=0.5),
    "one that is not bounded above": lambda x: x.clamp(min=-0.5),
    "the lower half of the identity": lambda x: -F.relu(-x),
    "one that overflows nearby": lambda x: torch.where(x > 60, torch.full_like(x, torch.inf), F.relu(x)),
    "a norm": lambda x: x / x.norm(),
    "a softmax": lambda x: x.softmax(-1),
    "a sum": lambda x: F.relu(x).sum(),
    "values in another order": lambda x: F.relu(x).flip(-1),
    "float32": lambda x: F.relu(x).float(),
    "another shape": lambda x: F.relu(x).flatten(),
    "an error": lambda x: F.relu(x)[10**6],
    "no tensor": lambda x: None,  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_resembles_an_activation_is_none(name: str) -> None:
    assert recognised(OTHERS[name]) is None


@given(st.floats(1e-3, 5.0).filter(lambda value: value != 1.0))
def test_the_parameter_of_a_family_is_found_whatever_it_is(value: float) -> None:
    for make, key in ((nn.LeakyReLU, "negative_slope"), (nn.ELU, "saturation"), (nn.CELU, "saturation")):
        module = make(value)
        found = recognised(module)
        assert found is not None
        points = sample_points()
        again = activation(found.name, **found.parameters)(points)
        torch.testing.assert_close(again, module(points), rtol=1e-6, atol=1e-6)
        assert found.parameters.get(key, value) == pytest.approx(value, rel=1e-9)


def test_recognition_neither_changes_what_it_is_given_nor_draws_random_numbers() -> None:
    points, state = sample_points(), torch.get_rng_state()
    recognised(lambda x: x.relu_() + torch.rand_like(x))
    assert torch.equal(sample_points(), points)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_random_slope_is_no_activation_of_one_value() -> None:
    assert recognised(lambda x: F.rrelu(x, training=True)) is None
