import pytest
import torch
from torch import nn

from passes.evaluation.exact_gradient import Formula, with_derivative
from passes.evaluation.table import Table, tabulate
from passes.functions import activation_names, adversarial

EXAMPLES = ["sigmoid", "elu", "hardtanh", "gelu", "crrelu", "softsign"]
# Away from the corners of piecewise functions.
POINTS = torch.tensor([-7.3, -2.1, -0.6, -0.05, 0.04, 0.7, 1.6, 4.2], dtype=torch.float64)


@pytest.mark.parametrize("name", activation_names())
def test_first_and_second_derivatives_are_those_of_the_values(name):
    g, points = adversarial(name, 1.0), POINTS.clone().requires_grad_()
    assert torch.autograd.gradcheck(g, points, rtol=1e-5)
    assert torch.autograd.gradgradcheck(g, points, rtol=1e-5)


def test_gradcheck_notices_a_derivative_that_is_one_percent_off():
    def function(x):
        return with_derivative(x, torch.sin, Formula(lambda u: 1.01 * torch.cos(u)))

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(function, POINTS.clone().requires_grad_())


@pytest.mark.parametrize("name", EXAMPLES)
def test_function_transforms_give_the_exact_derivative(name):
    g = adversarial(name, 1.0)
    exact = g.derivative(POINTS)
    assert torch.allclose(torch.func.vmap(torch.func.grad(g))(POINTS), exact)
    assert torch.allclose(torch.func.jacrev(g)(POINTS).diagonal(), exact)
    assert torch.allclose(torch.func.jacfwd(g)(POINTS).diagonal(), exact)
    curvature = torch.func.vmap(torch.func.grad(torch.func.grad(g)))(POINTS)
    assert torch.allclose(torch.func.hessian(lambda p: g(p).sum())(POINTS).diagonal(), curvature)


def test_batched_gradients_of_one_backward_pass():
    points = POINTS.clone().requires_grad_()
    g = adversarial("gelu")
    (rows,) = torch.autograd.grad(g(points), points, torch.eye(8, dtype=torch.float64), is_grads_batched=True)
    assert torch.allclose(rows.diagonal(), g.derivative(POINTS))


@pytest.mark.parametrize("name", EXAMPLES)
def test_vmap_over_any_dimension(name):
    g, points = adversarial(name), torch.randn(3, 5)
    torch.testing.assert_close(torch.func.vmap(g, in_dims=1, out_dims=1)(points), g(points))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", activation_names())
def test_backward_keeps_the_input_and_nothing_else(name, dtype):
    kept = []
    points = torch.randn(257).to(dtype).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        adversarial(name)(points)
    assert {t.data_ptr() for t in kept} == {points.data_ptr()}
    assert all(t.dtype == dtype and t.shape == points.shape for t in kept)


@pytest.mark.parametrize("name", EXAMPLES)
def test_compiled_without_graph_breaks(name):
    g, points = adversarial(name), torch.randn(64).requires_grad_()
    torch.compiler.reset()
    result = torch.compile(g, fullgraph=True, backend="aot_eager")(points)
    (slope,) = torch.autograd.grad(result.sum(), points)
    assert torch.allclose(result, g(points), rtol=1e-6)
    assert torch.allclose(slope, g.derivative(points.detach()), rtol=1e-6)


def test_float16_gradient_beyond_the_range_is_infinite():
    points = torch.zeros(1, dtype=torch.float16, requires_grad=True)
    adversarial("relu", 1e-3)(points).backward(torch.tensor([6e4], dtype=torch.float16))
    assert points.grad.isinf().all()


def test_table_without_a_slope_takes_that_of_its_cubics():
    table = Table(tabulate(lambda t: 1 / (1 + t * t)))
    points = POINTS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(table(points).sum(), points)
    assert torch.allclose(slope, 1 / (1 + POINTS**2), rtol=1e-6)
    assert torch.allclose(table(points), torch.atan(points), rtol=1e-9)


def test_gradient_reaches_a_layer_before():
    torch.manual_seed(0)
    linear = nn.Linear(4, 4)
    adversarial("silu")(linear(torch.randn(2, 4))).sum().backward()
    assert bool((linear.weight.grad != 0).any())
