import pytest
import torch
from scipy import stats

from passes.functions.density import normal
from passes.functions.measured import Histogram, histogram
from rewriter.errors import UsageError


def drawn(mean: float, std: float, count: int = 2**17) -> torch.Tensor:
    return mean + std * torch.randn(count, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-40.0, 0.01), (3.0, 500.0)])
def test_density_of_normal_values_is_near_the_normal_density(mean, std):
    found, exact = histogram(drawn(mean, std)).density(), normal(mean, std)
    points = mean + std * torch.linspace(-3, 3, 61, dtype=torch.float64)
    assert (found.value(points) - exact.value(points)).abs().max() * std < 0.012
    assert (found.slope(points) - exact.slope(points)).abs().max() * std**2 < 0.03
    assert (found.cdf(points) - exact.cdf(points)).abs().max() < 0.006


def test_measured_density_is_the_mixture_of_gaussians_that_it_says():
    measured = Histogram(first=-1.0, step=0.5, bandwidth=0.4, counts=(1, 0, 5, 2))
    points = torch.linspace(-4, 4, 101, dtype=torch.float64)
    parts = zip((1, 0, 5, 2), (-1.0, -0.5, 0.0, 0.5), strict=True)
    mixture = sum(count / 8 * stats.norm(centre, 0.4).pdf(points) for count, centre in parts)
    density = measured.density()
    assert torch.allclose(density.value(points), torch.from_numpy(mixture), atol=1e-14)
    at = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(density.value(at).sum(), at)
    assert torch.allclose(density.slope(points), slope, atol=1e-14)


def test_two_separate_modes_stay_separate():
    modes = torch.cat([drawn(-4.0, 0.5), drawn(4.0, 0.5)])
    density = histogram(modes).density()
    low, valley = density.value(torch.tensor([-4.0, 0.0], dtype=torch.float64)).tolist()
    assert low > 0.2
    assert valley < 0.01


def test_a_few_extreme_values_do_not_coarsen_the_histogram():
    plain = histogram(drawn(0.0, 1.0))
    extreme = histogram(torch.cat([drawn(0.0, 1.0), torch.tensor([1e6, -1e6])]))
    assert extreme.bandwidth == pytest.approx(plain.bandwidth, rel=1e-2)


def test_histogram_of_few_values_and_of_long_tails_stays_small():
    heavy = stats.t(1.5).rvs(2**17, random_state=0)
    for values in (torch.tensor([0.0, 1.0]), torch.from_numpy(heavy)):
        measured = histogram(values)
        assert len(measured.counts) <= 256
        measured.density()


@pytest.mark.parametrize("values", [torch.zeros(100), torch.full((100,), 1e8), torch.tensor([3.0])])
def test_constant_values_have_no_density(values):
    assert histogram(values) is None


def test_empty_counts_are_refused():
    with pytest.raises(UsageError, match="integrates to 1"):
        Histogram(first=0.0, step=1.0, bandwidth=1.0, counts=(0, 0)).density()
