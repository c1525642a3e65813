from functools import partial

import mpmath
import pytest
import sympy
import torch

from passes.evaluation.symbols import x
from passes.evaluation.table import Table, tabulate
from passes.functions import adversarial, symbolic
from passes.functions.grammar import parse_expression
from passes.functions.solver import by_sympy
from passes.functions.symbolic import antiderivative, symbolic_integral
from rewriter.errors import UsageError

POINTS = torch.tensor([-21.3, -3.3, -0.4, -1.3e-3, 2.1e-5, 0.6, 2.2, 17.9])


@pytest.fixture
def patient(monkeypatch):
    """A search that ends on a slow machine, too, and no answer of one that did not."""
    by_sympy.cache_clear()
    monkeypatch.setattr(symbolic, "antiderivative", partial(antiderivative, seconds=600.0))


def worst(exactly, text, alpha, factor=1.0):
    """Largest relative error of the values in float32 and of the slopes in float64, by mpmath."""
    slope = exactly(parse_expression(text, (x,)).diff(x))
    g = adversarial(text, alpha)
    errors = []
    for point, found in zip(POINTS.tolist(), g(POINTS).tolist(), strict=True):
        exact = mpmath.quad(lambda t: 1 / (factor * slope(t) + alpha), mpmath.linspace(0, point, 9))
        errors.append(abs(found / exact - 1))
    points = POINTS.double().requires_grad_()
    (slopes,) = torch.autograd.grad(g(points).sum(), points)
    equation = [abs(s * (factor * slope(p) + alpha) - 1) for s, p in zip(slopes.tolist(), points.tolist(), strict=True)]
    return float(max(errors)), float(max(equation))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("log(1+exp(x))", "closed"),
        ("2*sigmoid(3*x)", "closed"),
        ("relu(x)", "closed"),
        ("x + x**3/3", "sympy"),
        ("x + atan(x)", "sympy"),
        ("x*sigmoid(x)", "table"),
    ],
)
def test_users_expression_gets_the_best_form(exactly, patient, text, kind):
    assert adversarial(text, 1.0).kind == kind
    value, equation = worst(exactly, text, 1.0)
    assert value < 1e-6
    assert equation < 1e-10
    value, equation = worst(exactly, text, 1.0, factor=1.01)
    assert min(value, equation) > 1e-4


def test_expression_that_is_in_the_catalogue_is_the_same_function():
    points = torch.linspace(-9, 9, 99)
    assert torch.equal(adversarial("x*sigmoid(x)", 0.7)(points), adversarial("silu", 0.7)(points))


@pytest.mark.parametrize("text", ["x*sigmoid(", "x.real", "__import__('os')", "y + 1", "x+"])
def test_text_outside_the_grammar_is_refused(text):
    with pytest.raises(UsageError):
        adversarial(text)


def test_word_is_taken_for_a_name():
    with pytest.raises(UsageError, match="did you mean 'sigmoid'"):
        adversarial("sigmod")


def test_expression_takes_no_parameters():
    with pytest.raises(UsageError, match="no parameters"):
        adversarial("2*sigmoid(x)", beta=2.0)


def test_search_is_stopped_when_its_time_is_over():
    assert antiderivative(1 / (1 + x**2), seconds=1e-3) is None


def test_symbolic_answer_that_differs_from_quadrature_is_not_trusted(patient):
    integrand = 1 / (2 + x**2)
    right = tabulate(lambda t: 1 / (2 + t * t))
    wrong = tabulate(lambda t: 1.0001 / (2 + t * t))
    assert symbolic_integral(integrand, right) is not None
    assert symbolic_integral(integrand, wrong) is None


def test_symbolic_answer_without_torch_operations_is_not_used(patient):
    integrand = sympy.sin(x) / x
    assert symbolic.antiderivative(integrand) == sympy.Si(x)
    assert symbolic_integral(integrand, tabulate(lambda t: torch.sinc(t / torch.pi))) is None


def test_table_follows_its_slope_beyond_the_grid():
    table = Table(tabulate(lambda t: torch.full_like(t, 0.5)))
    assert table(torch.tensor([-1e4, 1e4])).tolist() == pytest.approx([-5e3, 5e3])
