import math

import pytest
import torch
from scipy import stats

from passes.functions.density import Density, normal
from rewriter.errors import UsageError


def logistic(scale: float = 1.0) -> Density:
    """The logistic density times ``scale``."""
    return Density(
        lambda u: scale * torch.sigmoid(u) * torch.sigmoid(-u),
        lambda u: -scale * torch.sigmoid(u) * torch.sigmoid(-u) * torch.tanh(u / 2),
        -40.0,
        40.0,
        "logistic",
    )


POINTS = torch.linspace(-30, 30, 997, dtype=torch.float64)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-3.0, 0.2), (100.0, 7.0)])
def test_normal_density_its_slope_and_its_distribution_are_the_gaussian_ones(mean, std):
    density, oracle, points = normal(mean, std), stats.norm(mean, std), mean + POINTS * std / 4
    assert torch.allclose(density.value(points), torch.from_numpy(oracle.pdf(points)), rtol=1e-12, atol=1e-30)
    assert torch.allclose(density.cdf(points), torch.from_numpy(oracle.cdf(points)), rtol=0, atol=1e-13)
    at = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(density.value(at).sum(), at)
    assert torch.allclose(density.slope(points), slope, rtol=1e-12, atol=1e-30)


def test_distribution_of_a_density_given_as_functions_is_its_integral():
    assert torch.allclose(logistic().cdf(POINTS), torch.sigmoid(POINTS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.99, 1.01, 2.0, math.nan])
def test_density_that_does_not_integrate_to_one_is_refused_with_its_integral(scale):
    with pytest.raises(UsageError, match=rf"expected a density that integrates to 1.*the integral {scale:.4g}"):
        logistic(scale)


def test_density_that_is_negative_somewhere_is_refused():
    with pytest.raises(UsageError, match="nowhere negative"):
        Density(lambda u: 2 - 3 * u**2, lambda u: -6 * u, 0.0, 1.0, "a parabola")


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan])
def test_normal_density_needs_a_positive_deviation(std):
    with pytest.raises(UsageError, match="above 0"):
        normal(0.0, std)
