import pytest
import torch

from passes.functions import activation_names
from passes.functions.catalogue import catalogue_entry
from passes.functions.solver import slope_of
from passes.functions.torch_slopes import fused_slope

OTHER_PARAMETERS = {
    "leaky_relu": {"negative_slope": 0.3},
    "prelu": {"negative_slope": 0.1},
    "hardtanh": {"min_val": -0.5, "max_val": 2.5},
    "elu": {"saturation": 1.7},
    "celu": {"saturation": 0.4},
    "softshrink": {"lambd": 1.25},
    "crrelu": {"epsilon": 0.2},
    "softplus": {"beta": 2.0},
}
CASES = [(name, {}) for name in activation_names() if fused_slope(name, {})] + list(OTHER_PARAMETERS.items())


def disagreement(name, given, factor=1.0):
    entry = catalogue_entry(name)
    fused = fused_slope(name, entry.complete(given))
    points = torch.cat([torch.linspace(-12, 12, 1000, dtype=torch.float64), torch.tensor([-3.0, 0.0, 3.0])])
    return float((factor * fused(points) - slope_of(entry.at(given)).program(points)).abs().max())


@pytest.mark.parametrize(("name", "given"), CASES)
def test_fused_slope_is_the_derived_slope(name, given):
    assert disagreement(name, given) < 1e-12
    assert disagreement(name, given, factor=1.01) > 1e-4


def test_a_slope_that_is_not_short_is_fused():
    without = {name for name in activation_names() if fused_slope(name, {}) is None}
    assert without == {"identity", "sigmoid", "tanh", "tanhshrink", "gelu_tanh", "mish"}
