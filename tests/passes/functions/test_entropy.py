import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats

from passes.functions.density import normal
from passes.functions.entropy import entropy_of, output_entropy, rank
from rewriter.errors import UsageError

SLOPES = {
    "identity": np.ones_like,
    "sigmoid": lambda u: special.expit(u) * special.expit(-u),
    "tanh": lambda u: 1 / np.cosh(u) ** 2,
    "softplus": special.expit,
    "softsign": lambda u: 1 / (1 + np.abs(u)) ** 2,
    "elu": lambda u: np.where(u > 0, 1.0, np.exp(u)),
}


def log_slope_entropy(slope, mean, std):
    """``H(U) + E ln f'(U)``, by scipy."""
    oracle = stats.norm(mean, std)

    def integrand(u):
        return oracle.pdf(u) * np.log(slope(u))

    area = integrate.quad(integrand, mean - 10 * std, mean + 10 * std, points=[0.0], epsabs=1e-12, limit=200)[0]
    return oracle.entropy() + area


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("name", SLOPES)
def test_entropy_of_an_invertible_activation_agrees_with_quadrature(name, mean, std):
    found = entropy_of(name, normal(mean, std))
    assert found == pytest.approx(log_slope_entropy(SLOPES[name], mean, std), abs=1e-5)
    assert found != pytest.approx(log_slope_entropy(lambda u: 1.01 * SLOPES[name](u), mean, std), abs=1e-3)


def test_atoms_count_as_discrete_outcomes():
    half = stats.norm.entropy() / 2
    assert entropy_of("relu", normal()) == pytest.approx(half + math.log(2) / 2, abs=1e-5)
    relu = torch.relu
    assert output_entropy(relu, normal(), where_rising=relu) == pytest.approx(half, abs=1e-5)
    tail = stats.norm.cdf(-1)
    middle = integrate.quad(lambda u: -stats.norm.pdf(u) * stats.norm.logpdf(u), -1, 1)[0]
    assert entropy_of("hardtanh", normal()) == pytest.approx(middle - 2 * tail * math.log(tail), abs=1e-5)


def test_inputs_with_one_output_share_its_density():
    folded = output_entropy(torch.abs, normal())
    assert folded == pytest.approx(stats.halfnorm.entropy(), abs=1e-5)
    chi2 = output_entropy(torch.square, normal())
    assert chi2 == pytest.approx(stats.chi2(1).entropy(), abs=1e-4)


def test_entropy_of_gelu_agrees_with_that_of_its_outputs_density():
    def gelu(u):
        return u * stats.norm.cdf(u)

    def slope(u):
        return stats.norm.cdf(u) + u * stats.norm.pdf(u)

    turn = optimize.brentq(slope, -2, 0, xtol=1e-15)

    def density(v):
        preimages = [optimize.brentq(lambda u: gelu(u) - v, turn, 40)]
        if v < 0:
            preimages.append(optimize.brentq(lambda u: gelu(u) - v, -40, turn))
        return sum(stats.norm.pdf(u) / abs(slope(u)) for u in preimages)

    def below_zero(root):  # v = gelu(turn) + root², which takes the pole out
        q = density(gelu(turn) + root**2)
        return -q * math.log(q) * 2 * root

    def above_zero(v):
        q = density(v)
        return -q * math.log(q)

    start, end = 1e-7, math.sqrt(-gelu(turn)) * (1 - 1e-7)
    exact = integrate.quad(below_zero, start, end, epsabs=1e-6)[0] + integrate.quad(above_zero, 1e-9, 9, epsabs=1e-6)[0]
    assert entropy_of("gelu", normal()) == pytest.approx(exact, abs=5e-5)


def test_scaling_the_output_shifts_the_entropy_by_the_logarithm():
    density = normal(0.2, 0.7)
    shift = output_entropy(lambda u: 3 * torch.tanh(u), density) - output_entropy(torch.tanh, density)
    assert shift == pytest.approx(math.log(3), abs=1e-9)


def test_rank_puts_the_lowest_entropy_first():
    ranking = rank(normal(), ["identity", "tanh", "sigmoid"])
    assert [name for name, _ in ranking] == ["sigmoid", "tanh", "identity"]
    assert dict(ranking)["identity"] == pytest.approx(stats.norm.entropy(), abs=1e-5)
    entropies = [entropy for _, entropy in rank(normal())]
    assert entropies == sorted(entropies)
    assert all(map(math.isfinite, entropies))


def test_rank_refuses_an_unknown_candidate():
    with pytest.raises(UsageError, match="did you mean 'tanh'"):
        rank(normal(), ["tahn"])
