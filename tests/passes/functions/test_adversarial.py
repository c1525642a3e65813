import copy

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.evaluation.symbols import x
from passes.functions import activation_names, adversarial
from passes.functions.catalogue import catalogue_entry
from passes.functions.solver import tabulated
from rewriter.errors import UsageError

CLOSED = [
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "prelu", "relu6", "hardtanh", "hardsigmoid"),
    *(
        "elu",
        "celu",
        "selu",
        "softplus",
        "softsign",
        "logsigmoid",
        "tanhshrink",
        "softshrink",
        "squared_relu",
        "hardswish",
    ),
]
ALPHAS = (0.25, 1.0, 3.0)
CASES = [(n, a) for n in activation_names() for a in ALPHAS if (n, a) != ("hardswish", 0.25)]
# Points that avoid the corners of piecewise functions, dense near 0.
POINTS = [
    s * p
    for p in (1.3e-6, 1.7e-3, 0.11, 0.37, 0.83, 1.21, 1.9, 2.7, 3.3, 4.4, 5.7, 8.1, 13.3, 21.7, 29.9)
    for s in (-1, 1)
]
CORNERS = (-3, -1, -0.5, 0, 0.5, 1, 3, 6)


def autograd_slope(g, points, dtype=torch.float64):
    at = torch.tensor(points, dtype=dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(g(at).sum(), at)
    return slope.double().tolist()


def slope_error(exactly, name, alpha, factor=1.0, g=None):
    """Largest ``|g'(x)·(factor·f'(x)+α) - 1|``, with f' from mpmath and g' from autograd in float64."""
    exact = exactly(catalogue_entry(name).at({}).diff(x))
    slopes = autograd_slope(g or adversarial(name, alpha), POINTS)
    return max(abs(s * (factor * exact(p) + alpha) - 1) for p, s in zip(POINTS, slopes, strict=True))


def value_error(exactly, name, alpha, factor=1.0):
    """Largest relative error of g in float32, against quadrature by mpmath of the rounded points."""
    exact = exactly(catalogue_entry(name).at({}).diff(x))
    g, worst = adversarial(name, alpha), 0.0
    for side in (-1, 1):
        total, reached = mpmath.mpf(0), mpmath.mpf(0)
        for point in sorted((p for p in POINTS if p * side > 0), key=abs):
            at = torch.tensor(point)
            target = mpmath.mpf(at.item())
            stops = sorted({reached, target, *(c for c in CORNERS if min(reached, target) < c < max(reached, target))})
            area = mpmath.quad(lambda t: 1 / (factor * exact(t) + alpha), stops)
            total, reached = total + side * area, target
            worst = max(worst, abs(float(g(at)) / total - 1))
    return worst


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(20):
        yield


def test_catalogue_gets_closed_forms_where_there_are_any():
    found = [name for name in activation_names() if adversarial(name, 1.0).kind == "closed"]
    assert sorted(found) == sorted(CLOSED)


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_gradient_satisfies_the_defining_equation(exactly, name, alpha):
    with mpmath.workdps(30):
        assert slope_error(exactly, name, alpha) < 1e-10
        assert slope_error(exactly, name, alpha, factor=1.01) > 1e-4


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_derivative_is_the_reciprocal_of_the_lifted_slope(exactly, name, alpha):
    g = adversarial(name, alpha)
    exact = exactly(catalogue_entry(name).at({}).diff(x))
    found = g.derivative(torch.tensor(POINTS, dtype=torch.float64)).tolist()
    assert max(abs(d * (exact(p) + alpha) - 1) for p, d in zip(POINTS, found, strict=True)) < 1e-10


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_value_agrees_with_quadrature_in_float32(exactly, name, alpha):
    assert value_error(exactly, name, alpha) < 1e-6


@pytest.mark.parametrize("name", ["sigmoid", "elu", "gelu"])
def test_quadrature_notices_one_percent(exactly, name):
    assert value_error(exactly, name, 1.0, factor=1.01) > 1e-4


@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 40.0])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "elu", "hardtanh"])
def test_precision_holds_for_extreme_lifts(exactly, name, alpha):
    assert value_error(exactly, name, alpha) < 2e-6


@pytest.mark.parametrize(
    ("name", "form"),
    [("sigmoid", lambda t: 2 * t + 2 * mpmath.sinh(t)), ("tanh", lambda t: t / 2 + mpmath.sinh(2 * t) / 4)],
)
def test_without_lift_inputs_are_clamped(name, form):
    g = adversarial(name, 0.0, clamp=4.0)
    for point in (-3.9, -1.0, 0.2, 3.9):
        assert float(g(torch.tensor(point, dtype=torch.float64))) == pytest.approx(float(form(point)), rel=1e-12)
    far = torch.tensor([-9.0, 4.0, 50.0], dtype=torch.float64)
    assert torch.allclose(g(far), g(torch.tensor([-4.0, 4.0, 4.0], dtype=torch.float64)))
    assert g.derivative(far).tolist()[::2] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "alpha", "least"),
    [
        ("gelu", 0.1, "0.129"),
        ("silu", 0.05, "0.0999"),
        ("mish", 0.0, "0.1126"),
        ("relu", 0.0, "alpha > 0"),
        ("hardswish", 0.25, "alpha >= 0.5001"),
        ("hardswish", 0.5, "alpha >= 0.5001"),
        ("x - 2*tanh(x)", 0.9, "alpha >= 1.0001"),
        ("sigmoid", -1.0, "alpha > 0"),
    ],
)
def test_alpha_too_small_names_the_least(name, alpha, least):
    with pytest.raises(UsageError, match=least):
        adversarial(name, alpha)


@pytest.mark.parametrize("name", activation_names())
@settings(max_examples=15)
@given(a=st.floats(-1e4, 1e4, width=32), b=st.floats(-1e4, 1e4, width=32), alpha=st.sampled_from([0.6, 1.0, 3.0]))
def test_adversarial_function_is_monotone_and_zero_at_zero(name, a, b, alpha):
    g = adversarial(name, alpha)
    low, zero, high = g(torch.tensor([min(a, b), 0.0, max(a, b)])).tolist()
    assert zero == 0.0
    assert low <= high + 2e-6 * abs(high)  # each is exact to 1e-6, and neighbours may change places within that


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", activation_names())
def test_values_and_gradients_are_finite_far_out(name, dtype):
    points = torch.tensor([-1e4, -200.0, -33.0, -1e-3, 1e-3, 33.0, 200.0, 1e4], dtype=dtype, requires_grad=True)
    g = adversarial(name, 1.0)
    result = g(points)
    (gradient,) = torch.autograd.grad(result.sum(), points)
    assert result.dtype == gradient.dtype == dtype
    assert result.isfinite().all()
    exact = g.derivative(points.double())
    assert torch.allclose(gradient.double(), exact, rtol=1e-2 if dtype != torch.float32 else 1e-4)


@pytest.mark.parametrize(("name", "least"), [("gelu", 0.129), ("silu", 0.0999), ("hardswish", 0.5001)])
def test_least_alpha_that_an_error_names_works(name, least):
    with pytest.raises(UsageError, match=f"alpha >= {least}"):
        adversarial(name, least - 2e-4)
    points = torch.linspace(-5, 5, 999, dtype=torch.float64)
    assert bool((adversarial(name, least).derivative(points) > 0).all())


@pytest.mark.parametrize("name", activation_names())
def test_bfloat16_is_within_one_unit_in_the_last_place(name):
    points = torch.linspace(-30, 30, 401).bfloat16()
    g = adversarial(name, 1.0)
    exact = g(points.double())
    assert bool(((g(points).double() - exact).abs() <= 2.0**-8 * exact.abs()).all())
    assert not bool(((1.01 * g(points).double() - exact).abs() <= 2.0**-8 * exact.abs()).all())


@pytest.mark.parametrize("name", [name for name in activation_names() if name not in CLOSED])
def test_float64_is_more_precise_than_float32(exactly, name):
    f = exactly(catalogue_entry(name).at({}).diff(x))
    at = torch.tensor([-7.3, -1.1e-3, 0.21, 4.7], dtype=torch.float64)
    for point, found in zip(at.tolist(), adversarial(name, 1.0)(at).tolist(), strict=True):
        stops = [0, *(c for c in (-1, 1) if c * point > 0 and abs(point) > 1), point]
        assert found == pytest.approx(float(mpmath.quad(lambda t: 1 / (f(t) + 1), stops)), rel=2e-8)


def test_float16_saturates_instead_of_overflowing():
    assert adversarial("relu", 0.1)(torch.tensor([-1e4, 1e4], dtype=torch.float16)).tolist()[0] == -65504.0


def test_gradient_at_zero_is_one_of_the_one_sided_slopes():
    zero = torch.zeros(1, requires_grad=True)
    for name in activation_names():
        (slope,) = torch.autograd.grad(adversarial(name, 1.0)(zero).sum(), zero)
        around = adversarial(name, 1.0).derivative(torch.tensor([-1e-6, 1e-6]))
        assert (slope - around).abs().min() < 1e-4, name


def test_table_is_the_same_bits_every_time_and_survives_casts_and_copies():
    first, points = adversarial("gelu", 0.4), torch.linspace(-40, 40, 999)
    expected = first(points)
    tabulated.cache_clear()
    assert torch.equal(adversarial("gelu", 0.4)(points), expected)
    assert torch.equal(copy.deepcopy(first)(points), expected)
    assert torch.equal(first.half().float()(points), expected)
    assert first.state_dict() == {}


def test_nan_stays_nan_in_a_table():
    assert adversarial("gelu")(torch.tensor([float("nan"), 1.0])).isnan().tolist() == [True, False]
