import pytest
import torch

from passes.evaluation.symbols import x
from passes.functions import activation, activation_names
from passes.functions.catalogue import catalogue_entry
from passes.functions.program import compile_expression
from rewriter.errors import UsageError

POINTS = torch.linspace(-12, 12, 1001, dtype=torch.float64)


def disagreement(name, factor=1.0, **params):
    """Largest difference between an activation's module and ``factor`` times its expression."""
    function = compile_expression(factor * catalogue_entry(name).at(params), (x,))
    module = activation(name, **params).double()
    return float((module(POINTS) - function(POINTS)).detach().abs().max())


@pytest.mark.parametrize("name", activation_names())
def test_module_computes_the_expression_of_its_entry(name):
    assert disagreement(name) < 1e-9
    assert disagreement(name, factor=1.01) > 1e-4


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("leaky_relu", {"negative_slope": 0.3}),
        ("prelu", {"negative_slope": 0.125}),
        ("hardtanh", {"min_val": -0.5, "max_val": 2.5}),
        ("elu", {"saturation": 1.7}),
        ("celu", {"saturation": 0.4}),
        ("softplus", {"beta": 2.0}),
        ("softshrink", {"lambd": 1.25}),
        ("crrelu", {"epsilon": 0.2}),
    ],
)
def test_parameters_reach_both_the_module_and_the_expression(name, params):
    assert disagreement(name, **params) < 1e-8


def test_module_is_torchs_own_where_torch_has_one():
    own = {name for name in activation_names() if not type(activation(name)).__module__.startswith("torch.nn")}
    assert own == {"quick_gelu", "squared_relu", "crrelu"}


def test_unknown_activation_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'sigmoid'"):
        activation("sigmiod")


def test_unknown_parameter_is_refused():
    with pytest.raises(UsageError, match="parameter of relu"):
        activation("relu", negative_slope=0.1)


def test_crrelu_trains_epsilon_from_one_hundredth():
    module = activation("crrelu")
    assert module.epsilon.item() == pytest.approx(0.01)
    module(torch.linspace(-2, 3, 11)).sum().backward()
    assert float(module.epsilon.grad.abs()) > 0.1


def test_prelu_trains_its_slope_from_one_quarter():
    module = activation("prelu")
    assert [parameter.tolist() for parameter in module.parameters()] == [[0.25]]
    module(torch.linspace(-2, 3, 11)).sum().backward()
    assert float(module.weight.grad.abs()) > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_crrelu_is_finite_in_half_precision(dtype):
    points = torch.tensor([-1e4, -300.0, -1.0, 0.0, 1.0, 300.0, 1e4], dtype=dtype, requires_grad=True)
    result = activation("crrelu")(points)
    (gradient,) = torch.autograd.grad(result.sum(), points)
    assert result.dtype == dtype
    assert result.isfinite().all()
    assert gradient.isfinite().all()
    assert torch.allclose(result.double(), activation("crrelu").double()(points.double()), rtol=1e-2)
