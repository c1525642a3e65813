import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.functions.spline import Spline


@settings(max_examples=30)
@given(low=st.floats(-50, -0.1), width=st.floats(0.2, 200), at=st.floats(0, 1))
def test_spline_agrees_with_its_function_in_single_precision(low, width, at):
    spline = Spline(lambda u: torch.sin(u * 10 / width), low, low + width)
    point = torch.tensor(low + at * width, dtype=torch.float64)
    assert abs(float(spline(point) - torch.sin(point * 10 / width))) < 2e-6
    single = point.float()
    assert float(spline(single)) == pytest.approx(float(spline(single.double())), abs=1e-6)


def test_beyond_its_interval_a_spline_keeps_the_value_at_the_end():
    spline = Spline(torch.exp, -1.0, 1.0)
    far = torch.tensor([-1e30, -5.0, 5.0, 1e30], requires_grad=True)
    found = spline(far)
    assert torch.allclose(found, torch.tensor([-1.0, -1.0, 1.0, 1.0]).exp())
    (gradient,) = torch.autograd.grad(found.sum(), far)
    assert not gradient.any()


def test_gradient_is_the_slope_of_the_function():
    spline = Spline(torch.sin, -4.0, 4.0)
    points = torch.linspace(-3.9, 3.9, 1001, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(spline(points).sum(), points)
    assert torch.allclose(gradient, points.detach().cos(), atol=1e-4)


def test_a_jump_at_zero_is_kept():
    spline = Spline(lambda u: torch.where(u < 0, u - 1, u + 1), -3.0, 2.0)
    found = spline(torch.tensor([-1e-4, 0.0, 1e-4]))
    assert torch.allclose(found, torch.tensor([-1.0001, 1.0, 1.0001]), atol=1e-6)


def test_same_function_gives_the_same_bits_and_survives_casts_and_copies():
    first, points = Spline(torch.tanh, -3.0, 3.0), torch.linspace(-4, 4, 999)
    expected = first(points)
    assert torch.equal(Spline(torch.tanh, -3.0, 3.0)(points), expected)
    assert torch.equal(copy.deepcopy(first)(points), expected)
    assert torch.equal(first.half().float()(points), expected)
    assert first.state_dict() == {}


def test_nan_stays_nan():
    assert Spline(torch.tanh, -3.0, 3.0)(torch.tensor([float("nan"), 1.0])).isnan().tolist() == [True, False]
