import functools
import math

import mpmath
import pytest
import torch
from torch.nn.functional import softplus as torch_softplus

from passes.evaluation.symbols import sigmoid, softplus, variables, x
from passes.functions import adversarial, decomposition, decomposition_names
from passes.functions.families import Bell, Constant, Exponential, Sigmoid
from passes.functions.recognition import recognise
from passes.functions.split_terms import FamilyTerm
from rewriter.errors import UsageError

POINTS = [-14.7, -6.1, -3.7, -2.3, -1.1, -0.37, -0.013, 0.0071, 0.42, 0.93, 1.7, 2.9, 4.1, 7.9, 15.3]
TERMS = [(name, i) for name in decomposition_names() for i in range(decomposition(name).terms)]


def partial(exactly, name, i):
    """``∂F/∂xᵢ`` with the other variables at 1, by mpmath's numerical differentiation."""
    F = decomposition(name)
    split = exactly(F.expression, variables(F.terms))

    def slope(t):
        with mpmath.workdps(140):  # far out a slope may be 1e-47 of the value
            return mpmath.diff(lambda u: split(*[u if j == i else 1 for j in range(F.terms)]), t)

    return slope


@pytest.fixture(scope="module")
def exact_slopes(exactly):
    """The partial derivative of each term at ``POINTS``."""

    @functools.cache
    def at_points(name, i):
        slope = partial(exactly, name, i)
        return [slope(point) for point in POINTS]

    return at_points


def equation_error(name, i, alpha, exact, factor=1.0):
    """Largest ``|Gᵢ'·(|factor·∂F/∂xᵢ|+α) ∓ 1|``, G' by autograd in float64."""
    term = decomposition(name).adversarial(alpha).terms[i]
    at = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(term(at).sum(), at)
    idle = -1 if max(exact) <= 0 else 1  # the sign where the slope is 0
    signs = [idle if e == 0 else mpmath.sign(e) for e in exact]
    found = slopes.tolist()
    return max(abs(n * s * (factor * abs(e) + alpha) - 1) for n, s, e in zip(signs, found, exact, strict=True))


@pytest.mark.parametrize("alpha", [0.25, 1.0, 3.0])
@pytest.mark.parametrize(("name", "i"), TERMS)
def test_every_term_satisfies_its_defining_equation(exact_slopes, name, i, alpha):
    exact = exact_slopes(name, i)
    assert equation_error(name, i, alpha, exact) < 2e-6  # coefficients and tables are float32
    assert equation_error(name, i, alpha, exact, factor=1.01) > 1e-5


@pytest.mark.parametrize(("name", "i"), TERMS)
def test_terms_are_zero_at_zero(name, i):
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(decomposition(name).adversarial(0.7).terms[i](zero).detach().abs()) < 1e-6


def test_value_is_the_sum_of_integrated_reciprocals(exactly):
    point = {name: 0.8 * (-1) ** k * (k + 1) for k, name in enumerate(range(4))}
    for name in ("tanh/4", "gelu/4", "gelu/2"):
        F = decomposition(name)
        expected = mpmath.mpf(0)
        for i in range(F.terms):
            slope = partial(exactly, name, i)
            sign = -1 if slope(0.1) < 0 else 1
            expected += sign * mpmath.quad(lambda t, s=slope: 1 / (abs(s(t)) + 1), [0, point[i]], maxdegree=4)
        inputs = [torch.tensor([point[i]], dtype=torch.float64) for i in range(F.terms)]
        assert F.adversarial(1.0)(*inputs).item() == pytest.approx(float(expected), rel=1e-6)


def test_tanh4_terms_are_those_of_the_method():
    alpha, points = 0.7, torch.linspace(-9, 9, 61, dtype=torch.float64)
    C, N, c = 2 * math.cosh(1), 2 * math.sinh(1), math.exp(-1)
    shift = math.log(alpha * C)
    K = N / c
    gate = adversarial("sigmoid", alpha / K)
    table = [
        -torch_softplus(shift - points) / alpha,
        torch_softplus(shift + points) / alpha,
        -gate(points - math.log(c)) / K,
    ]
    for term, expected in zip(decomposition("tanh/4").adversarial(alpha).terms, table, strict=False):
        found = term(points).detach()
        assert torch.allclose(found - found[30], expected - expected[30], rtol=1e-5, atol=1e-6)


def test_tanh4_without_lift_is_exponential_and_clamped():
    function = decomposition("tanh/4").adversarial(0.0)
    C, points = 2 * math.cosh(1), torch.linspace(-4, 4, 9, dtype=torch.float64)
    assert torch.allclose(function.terms[0](points), C - C * torch.exp(-points), rtol=1e-5, atol=1e-6)
    assert torch.allclose(function.terms[1](points), C * torch.exp(points) - C, rtol=1e-5, atol=1e-6)
    far = [torch.full((1,), 1e4)] * 4
    assert function(*far).isfinite().all()
    assert torch.equal(function(*far), function(*[torch.full((1,), 4.0)] * 4))


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("tanh/4", [Exponential, Exponential, Bell, Bell]),
        ("gelu/4", [Constant, Constant, Bell, None]),
        ("silu/2", [Constant, Bell]),
        ("gelu/2", [Constant, None]),
        ("softplus/2", [Constant, Sigmoid]),
        ("tanhshrink/2", [Constant, Bell]),
        ("softsign/2", [Constant, None]),
    ],
)
def test_families_are_recognised(name, families):
    terms = decomposition(name).adversarial().terms
    assert [type(t.family) if isinstance(t, FamilyTerm) else None for t in terms] == families


def test_sigmoid_slopes_and_their_trained_form_are_recognised():
    family = recognise(3 * sigmoid(2 * x - 1))
    assert isinstance(family, Sigmoid)
    assert (family.scale, family.rate, family.centre) == pytest.approx((3.0, 2.0, 0.5))
    points = torch.linspace(-20, 20, 101, dtype=torch.float64, requires_grad=True)
    value = FamilyTerm(family, 1.0, 0.4)(points)
    (slope,) = torch.autograd.grad(value.sum(), points)
    assert torch.allclose(slope * (3 * torch.sigmoid(2 * points - 1) + 0.4), torch.ones_like(points), atol=1e-6)


@pytest.mark.parametrize("slope", [x * sigmoid(x), softplus(x), sigmoid(x) ** 2, 1 / (1 + x**2), x])
def test_slopes_outside_the_families_are_not_recognised(slope):
    assert recognise(slope) is None


@pytest.mark.parametrize("combine", ["sum", "structure"])
@pytest.mark.parametrize("name", decomposition_names())
def test_first_and_second_gradients_are_those_of_finite_differences(name, combine):
    F = decomposition(name)
    function = F.adversarial(0.8, combine).double()
    generator = torch.Generator().manual_seed(7)
    points = torch.randn(F.terms, 3, dtype=torch.float64, generator=generator).requires_grad_()
    names, coefficients = zip(*function.named_parameters(), strict=True)

    def value(points, *coefficients):
        return torch.func.functional_call(function, dict(zip(names, coefficients, strict=True)), tuple(points))

    assert torch.autograd.gradcheck(value, (points, *coefficients))
    assert torch.autograd.gradgradcheck(value, (points, *coefficients))


def test_a_term_that_falls_and_rests_keeps_its_sign_on_both_sides():
    term = decomposition("x1-relu(x2)", of="min(x,0)").adversarial(0.5).terms[1]
    found = term(torch.tensor([-3.0, 3.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([3 / 0.5, -3 / 1.5], rel=1e-6)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_a_users_expression_has_an_adversarial_function(exactly, alpha):
    function = decomposition("x1*sigmoid(x2)", of="silu").adversarial(alpha)
    library = decomposition("silu/2").adversarial(alpha)
    inputs = torch.randn(2, 50, generator=torch.Generator().manual_seed(2))
    assert torch.equal(function(*inputs), library(*inputs))


@pytest.mark.parametrize("combine", ["sum", "structure"])
@pytest.mark.parametrize("name", decomposition_names())
def test_every_coefficient_receives_a_gradient(name, combine):
    F = decomposition(name)
    function = F.adversarial(1.0, combine)
    generator = torch.Generator().manual_seed(5)
    function(*torch.randn(F.terms, 64, generator=generator)).square().sum().backward()
    for path, parameter in function.named_parameters():
        assert bool((parameter.grad != 0).all()), path


@pytest.mark.parametrize("name", decomposition_names())
def test_coefficients_start_at_their_unit_values(name):
    function = decomposition(name).adversarial()
    assert function.constants.tolist() == [0.0]
    for term in function.terms:
        if isinstance(term, FamilyTerm):
            assert float(term.log_scale.detach().exp()) == pytest.approx(term.family.scale, rel=1e-6)
        else:
            assert float(term.log_scale.detach()) == 0.0


def test_scales_stay_positive_whatever_training_does():
    function = decomposition("tanh/4").adversarial()
    with torch.no_grad():
        for term in function.terms:
            term.log_scale.fill_(-7.0)
    at = torch.linspace(-5, 5, 21, requires_grad=True)
    for term, sign in zip(function.terms, (1, 1, -1, 1), strict=True):
        (slope,) = torch.autograd.grad(term(at).sum(), at)
        assert bool((sign * slope > 0).all())


def test_structure_applies_the_decompositions_own_operations():
    F = decomposition("silu/2")
    function, inputs = F.adversarial(1.0, "structure"), torch.randn(2, 9, generator=torch.Generator().manual_seed(1))
    parts = [term(value) for term, value in zip(function.terms, inputs, strict=True)]
    assert torch.allclose(function(*inputs), parts[0] * torch.sigmoid(parts[1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gelu/4", 0.0, "sum"), "alpha > 0"),
        (("tanh/4", -0.5, "sum"), "alpha >= 0"),
        (("tanh/4", 1.0, "structur"), "did you mean 'structure'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message):
    name, alpha, combine = arguments
    with pytest.raises(UsageError, match=message):
        decomposition(name).adversarial(alpha, combine)
