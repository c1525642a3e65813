import mpmath
import pytest
import torch

from passes.evaluation.symbols import x
from passes.functions import adversarial
from passes.functions.catalogue import catalogue_entry
from rewriter.errors import UsageError

NAMES = [
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "relu6", "hardsigmoid", "hardswish", "elu", "selu"),
    *("softplus", "logsigmoid", "softsign", "tanhshrink", "squared_relu"),
]
POINTS = torch.tensor([-7.3, -2.1, -0.6, -0.05, 0.04, 0.7, 1.6, 4.2], dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_starts_as_the_fixed_lift_with_its_derivative(name):
    trained, fixed = adversarial(name, 0.8, trainable=True).double(), adversarial(name, 0.8)
    assert trained.alpha == pytest.approx(0.8, rel=1e-6)
    assert torch.allclose(trained(POINTS), fixed(POINTS), rtol=1e-6)
    points = POINTS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(trained(points).sum(), points)
    assert torch.allclose(slope, trained.derivative(POINTS), rtol=1e-10)
    assert torch.allclose(slope, fixed.derivative(POINTS), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_in_x_and_alpha_pass_gradcheck(name):
    g = adversarial(name, 0.8, trainable=True).double()

    def function(points, offset):
        return torch.func.functional_call(g, {"log_offset": offset}, (points,))

    inputs = (POINTS.clone().requires_grad_(), g.log_offset.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu", "hardswish", "softsign"])
def test_gradient_in_alpha_is_the_integral_of_its_derivative(exactly, name):
    slope = exactly(catalogue_entry(name).at({}).diff(x))
    g = adversarial(name, 0.8, trainable=True).double()
    infimum = g.infimum
    for point in (-2.3, 1.9):
        g.zero_grad()
        g(torch.tensor(point, dtype=torch.float64)).backward()
        stops = [0, point]
        exact = -mpmath.quad(lambda t: 1 / (slope(t) + g.alpha) ** 2, stops)
        found = float(g.log_offset.grad) / (g.alpha - infimum)  # dα = (α - infimum)·d log_offset
        assert found == pytest.approx(float(exact), rel=1e-9)
        assert found != pytest.approx(1.01 * float(exact), rel=1e-4)


@pytest.mark.parametrize("name", ["sigmoid", "hardswish"])
def test_alpha_stays_above_the_least_whatever_training_does(name):
    g = adversarial(name, 0.8, trainable=True)
    with torch.no_grad():
        g.log_offset.fill_(-9.0)
    assert g.alpha > g.infimum
    assert bool((g.derivative(torch.linspace(-5, 5, 101)) > 0).all())


def test_alpha_learns():
    g = adversarial("tanh", 1.0, trainable=True)
    points = torch.linspace(-3, 3, 61)
    target = adversarial("tanh", 0.5)(points)
    optimizer = torch.optim.Adam(g.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (g(points) - target).square().mean().backward()
        optimizer.step()
    assert g.alpha == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["gelu", "silu", "crrelu"])
def test_tables_cannot_be_trained(name):
    with pytest.raises(UsageError, match=r"closed form.*to train alpha"):
        adversarial(name, 1.0, trainable=True)


def test_trained_alpha_needs_a_lift():
    with pytest.raises(UsageError, match="alpha > 0"):
        adversarial("sigmoid", 0.0, trainable=True)
