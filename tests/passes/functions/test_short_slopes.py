import mpmath
import pytest
import torch

from passes.evaluation.symbols import x
from passes.functions.short_slopes import short_slope
from passes.functions.written_activation import activation_expression

NAMES = ["sigmoid", "tanh", "tanhshrink", "gelu_tanh", "mish"]


def exact(name, points):
    expression = activation_expression(name, {}).diff(x)
    with mpmath.workdps(30):
        return torch.tensor([float(expression.evalf(30, subs={x: point})) for point in points], dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 2e-14), (torch.float32, 2e-6)])
@pytest.mark.parametrize("name", NAMES)
def test_short_slope_is_the_derivative(name, dtype, error):
    points = torch.linspace(-24, 24, 97, dtype=torch.float64)
    found = short_slope(name)(points.to(dtype)).double()
    assert (found - exact(name, points.tolist())).abs().max() < error


@pytest.mark.parametrize("name", NAMES)
def test_short_slope_and_its_gradient_are_finite_for_huge_inputs(name):
    points = torch.tensor([-1e30, -1e4, 1e4, 1e30]).requires_grad_()
    slope = short_slope(name)(points)
    (gradient,) = torch.autograd.grad(slope.sum(), points)
    assert slope.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_short_slope_can_be_differentiated(name):
    points = torch.linspace(-6, 6, 25, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(short_slope(name), points)
