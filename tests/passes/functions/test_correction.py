import math

import mpmath
import pytest
import torch

from passes.evaluation.symbols import x
from passes.functions.catalogue import catalogue_entry
from passes.functions.correction import correctable_names, correction, is_correctable
from passes.functions.density import normal
from passes.functions.entropy import output_entropy
from passes.functions.measured import histogram
from passes.functions.program import compile_expression
from passes.functions.spline import Spline
from rewriter.errors import UsageError

INVERSES = {
    "identity": lambda v: v,
    "sigmoid": lambda v: mpmath.log(v / (1 - v)),
    "tanh": mpmath.atanh,
    "softplus": lambda v: mpmath.log(mpmath.expm1(v)),
    "logsigmoid": lambda v: -mpmath.log(mpmath.expm1(-v)),
    "leaky_relu": lambda v: v if v > 0 else 100 * v,
    "elu": lambda v: v if v > 0 else mpmath.log1p(v),
    "softsign": lambda v: v / (1 - abs(v)),
}
POINTS = (-2.3, -1.1, -0.4, 0.3, 0.9, 2.2)


def papers_eta(name, v, factor=1.0):
    """``η(v) = -(p'(y)·y' + p(y)·y''/y')`` for the standard normal p, from the inverse y itself, by mpmath."""
    inverse = INVERSES[name]
    u, first, second = inverse(v), mpmath.diff(inverse, v), mpmath.diff(inverse, v, 2)
    p = mpmath.npdf(u)
    return -(-u * p * first + factor * p * second / first)


def value_of(name, u, exactly):
    return exactly(catalogue_entry(name).at({}))(u)


@pytest.mark.parametrize("name", INVERSES)
def test_correction_is_the_papers_formula_of_the_inverse(exactly, name):
    kappa = correction(name, normal())(torch.tensor(POINTS, dtype=torch.float64)).tolist()
    f = exactly(catalogue_entry(name).at({}))
    with mpmath.workdps(30):
        eta = [papers_eta(name, f(u)) * mpmath.diff(f, u) for u in POINTS]
    assert max(abs(a - b) for a, b in zip(kappa, eta, strict=True)) < 1e-12


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "elu", "softsign"])
def test_the_oracle_notices_one_percent(exactly, name):
    kappa = correction(name, normal())(torch.tensor(POINTS, dtype=torch.float64)).tolist()
    f = exactly(catalogue_entry(name).at({}))
    with mpmath.workdps(30):
        eta = [papers_eta(name, f(u), factor=1.01) * mpmath.diff(f, u) for u in POINTS]
    assert max(abs(a - b) for a, b in zip(kappa, eta, strict=True)) > 1e-4


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "identity"])
def test_corrected_activation_is_the_inverse_of_the_corrected_inverse_to_first_order(exactly, name):
    kappa, f, u = correction(name, normal()), exactly(catalogue_entry(name).at({})), 0.7
    errors = []
    with mpmath.workdps(30):
        for strength in (1e-3, 1e-4):
            better = mpmath.findroot(lambda v, s=strength: INVERSES[name](v) + s * papers_eta(name, v) - u, f(u))
            own = f(u) - strength * mpmath.mpf(float(kappa(torch.tensor(u, dtype=torch.float64))))
            errors.append(abs(better - own) / strength)
    assert errors[0] < 1e-3
    assert errors[1] < errors[0] / 9


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "identity", "hardtanh", "relu6"])
def test_correction_of_relu_for_the_normal_density_is_the_term_of_crrelu(name):
    density, u = normal(), torch.linspace(-12, 12, 10001, dtype=torch.float64)
    term = u * torch.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    kappa = correction(name, density)
    table = Spline(kappa, density.low, density.high)
    assert (kappa(u) - term).abs().max() < 1e-15
    assert (table(u) - term).abs().max() < 1e-6
    assert (table(u) - 1.01 * term).abs().max() > 1e-3


def test_relu_less_its_correction_is_crrelu():
    u, epsilon = torch.linspace(-6, 6, 1001, dtype=torch.float64), 0.01
    crrelu = compile_expression(catalogue_entry("crrelu").at({"epsilon": epsilon}), (x,))(u)
    strength = -epsilon * math.sqrt(2 * math.pi)
    assert (torch.relu(u) - strength * correction("relu", normal())(u) - crrelu).abs().max() < 1e-12


def entropies_around(name, density):
    """The output entropies with the correction at 0.01, 0 and -0.01."""
    f, kappa = compile_expression(catalogue_entry(name).at({}), (x,)), correction(name, density)
    return [output_entropy(lambda u, s=s: f(u) - s * kappa(u), density, where_rising=f) for s in (0.01, 0.0, -0.01)]


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", ["identity", "sigmoid", "tanh", "softplus", "logsigmoid", "softsign"])
def test_correction_lowers_the_output_entropy_and_its_opposite_raises_it(name, measured):
    values = torch.randn(2**14, generator=torch.Generator().manual_seed(1))
    density = histogram(torch.cat([values, 2 + 0.5 * values])).density() if measured else normal(0.3, 1.2)
    low, zero, high = entropies_around(name, density)
    assert low < zero < high


def test_correction_lowers_the_entropy_of_relus_positive_part():
    low, zero, high = entropies_around("relu", normal())
    assert low < zero < high


def test_activations_without_an_inverse_are_refused():
    with pytest.raises(UsageError, match=r"gelu: it has no inverse: it falls at .*choose one of identity, .*relu"):
        correction("gelu", normal())
    with pytest.raises(UsageError, match="squared_relu: its inverse has no slope at 0"):
        correction("squared_relu", normal())
    assert not {"gelu", "silu", "mish", "hardswish", "tanhshrink", "squared_relu", "crrelu"} & set(correctable_names())
    assert {*INVERSES, "relu", "relu6", "hardtanh", "hardsigmoid", "celu", "selu"} <= set(correctable_names())


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("x*sigmoid(2*x)", "it has no inverse: it falls at"),
        ("max(tanh(x),x**3)", "where its pieces end is not found"),
        ("max(max(max(x,0.1),0.2*x),abs(x+1))+3*x", "it has too many pieces"),
    ],
)
def test_formulas_without_an_inverse_that_is_found_are_refused(formula, reason):
    with pytest.raises(UsageError, match=reason):
        correction(formula, normal())
    assert not is_correctable(formula)


def test_correction_of_a_formula_is_that_of_the_function_it_spells():
    u = torch.linspace(-6, 6, 101, dtype=torch.float64)
    assert torch.allclose(correction("log(1+exp(x))", normal())(u), correction("softplus", normal())(u), atol=1e-12)
    assert torch.allclose(correction("max(x,0.3*x)", normal())(u), correction("relu", normal())(u), atol=1e-12)


def test_parameters_of_the_activation_count():
    u = torch.linspace(-4, 4, 101, dtype=torch.float64)
    steep = correction("softplus", normal(), beta=3.0)(u)
    at = u.clone().requires_grad_()
    (tilt,) = torch.autograd.grad(torch.nn.functional.logsigmoid(3 * at).sum(), at)
    assert torch.allclose(steep, normal().value(u) * (tilt + u), atol=1e-12)
