from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from export.agreement import TOLERANCES, agreement, coarsest

SEEDS = st.integers(0, 10_000)


def rows(seed: int) -> torch.Tensor:
    return torch.randn(4, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(SEEDS)
def test_a_tensor_agrees_fully_with_itself(seed: int) -> None:
    found = agreement(rows(seed), rows(seed), 0.0)
    assert (found.max_abs, found.max_rel, found.top1_agreement, found.passed) == (0.0, 0.0, 1.0, True)
    assert found.cosine == pytest.approx(1.0)


@given(SEEDS, SEEDS)
def test_the_figures_are_numpy_s(seed: int, other: int) -> None:
    y, z = rows(seed), rows(other)
    found = agreement(y, z, 1e-4)
    a, b = y.numpy(), z.numpy()
    assert found.max_abs == pytest.approx(np.abs(a - b).max())
    assert found.max_rel == pytest.approx(np.abs(a - b).max() / np.abs(a).max())
    cosine = np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    assert found.cosine == pytest.approx(cosine)
    assert found.top1_agreement == (a.argmax(1) == b.argmax(1)).mean()


@given(SEEDS, st.floats(1e-6, 1.0), st.floats(0.0, 2.0).filter(lambda factor: abs(factor - 1) > 1e-3))
def test_one_element_decides(seed: int, tolerance: float, factor: float) -> None:
    y = rows(seed)
    z = y.clone()
    z[2, 3] += factor * tolerance * y.abs().max()
    assert agreement(y, z, tolerance).passed is (factor < 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_on_one_side_fails(value: float) -> None:
    y = rows(0)
    z = y.clone()
    z[0, 0] = value
    assert not agreement(y, z, 1e9).passed
    assert not agreement(z, y, 1e9).passed


def test_nan_on_both_sides_fails_but_equal_infinities_agree() -> None:
    assert not agreement(torch.tensor([math.nan]), torch.tensor([math.nan]), 1.0).passed
    masked = torch.tensor([1.0, -math.inf])
    assert agreement(masked, masked.clone(), 0.0).passed


def test_integers_must_be_equal_whatever_the_tolerance() -> None:
    y = torch.tensor([1000, 2000])
    assert agreement(y, y.clone(), 0.5).passed
    assert not agreement(y, y + 1, 0.5).passed


def test_a_vanishing_reference_allows_no_error() -> None:
    zero = torch.zeros(3)
    assert agreement(zero, zero.clone(), 0.1).passed
    assert not agreement(zero, zero + 1e-9, 0.1).passed


def test_the_coarsest_weights_set_the_tolerance() -> None:
    assert coarsest([torch.float32, torch.float16, torch.int64]) == torch.float16
    assert coarsest([torch.int64]) == torch.float32
    assert TOLERANCES[torch.float32] == 1e-4


def test_complex_numbers_are_compared_in_both_parts() -> None:
    y = torch.complex(torch.ones(3), torch.ones(3))
    assert agreement(y, y.clone(), 1e-4).passed
    assert not agreement(y, torch.complex(y.real, 2 * y.imag), 1e-4).passed
