import pytest
import torch

from passes.functions.activations import CRReLU


def points(dtype=torch.float64, *shape):
    return torch.randn(shape or (6, 5), generator=torch.Generator().manual_seed(8), dtype=torch.float64).to(dtype) * 2


def outcome(function, x, epsilon):
    leaf = x.detach().requires_grad_()
    value = function(leaf)
    return [value.detach(), *torch.autograd.grad(value.square().sum(), [leaf, epsilon])]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_values_and_gradients_are_those_of_the_plain_formula(dtype, tolerance):
    own = CRReLU(0.3)
    found = outcome(own, points(dtype), own.epsilon)
    expected = outcome(lambda x: own._plain(x, own.epsilon), points(dtype), own.epsilon)
    for value, exact in zip(found, expected, strict=True):
        assert value.dtype == exact.dtype
        assert torch.allclose(value, exact, rtol=tolerance, atol=tolerance)


def test_derivatives_are_those_of_finite_differences():
    own = CRReLU(0.3).double()

    def function(x, epsilon):
        return torch.func.functional_call(own, {"epsilon": epsilon}, x)

    epsilon = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (points().requires_grad_(), epsilon))
    assert torch.autograd.gradgradcheck(function, (points().requires_grad_(), epsilon))


def test_backward_keeps_the_input_and_epsilon_alone():
    own, kept, x = CRReLU(), [], points(torch.float32, 64).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        own(x)
    assert sorted(t.data_ptr() for t in kept) == sorted([x.data_ptr(), own.epsilon.data_ptr()])


def test_a_single_number_has_a_value():
    assert float(CRReLU(0.0)(torch.tensor(1.5)).detach()) == 1.5
