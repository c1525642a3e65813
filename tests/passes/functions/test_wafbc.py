import torch

from passes.functions.density import Density, normal
from passes.functions.entropy import entropy_of, output_entropy
from passes.functions.wafbc import worst_activation

POINTS = torch.linspace(-12, 12, 10007, dtype=torch.float64)


def logistic() -> Density:
    return Density(
        lambda u: torch.sigmoid(u) * torch.sigmoid(-u),
        lambda u: -torch.sigmoid(u) * torch.sigmoid(-u) * torch.tanh(u / 2),
        -40.0,
        40.0,
        "logistic",
    )


def test_worst_activation_of_a_normal_density_is_the_error_function():
    for mean, std in ((0.0, 1.0), (-1.0, 2.0)):
        exact = (1 + torch.erf((POINTS - mean) / (std * 2**0.5))) / 2
        found = worst_activation(normal(mean, std))(POINTS)
        assert (found - exact).abs().max() < 1e-6
        assert (found - 1.01 * exact).abs().max() > 1e-3
        assert (worst_activation(normal(mean, 1.01 * std))(POINTS) - exact).abs().max() > 1e-3


def test_worst_activation_of_a_logistic_density_is_the_sigmoid():
    assert (worst_activation(logistic())(POINTS) - torch.sigmoid(POINTS)).abs().max() < 1e-6


def test_output_of_the_worst_activation_is_uniform_and_no_other_onto_its_range_has_more_entropy():
    assert abs(output_entropy(worst_activation(normal()), normal())) < 1e-5
    assert entropy_of("sigmoid", normal()) < -0.1
    assert output_entropy(worst_activation(normal(0.0, 1.2)), normal()) < -1e-3
