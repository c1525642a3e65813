import copy
import pickle

import pytest
import sympy
import torch

from passes.functions import Decomposition, decomposition, decomposition_for, decomposition_names
from passes.functions.catalogue import catalogue_entry
from passes.functions.symbols import sigmoid, variables, x
from rewriter.errors import UsageError

x1, x2 = variables(2)


@pytest.mark.parametrize("name", decomposition_names())
def test_diagonal_is_the_activation_for_mpmath(exactly, name):
    F = decomposition(name)
    split, f = exactly(F.expression, variables(F.terms)), exactly(catalogue_entry(F.of).at({}))
    for point in (-9.7, -2.2, -0.31, 1e-4, 0.77, 3.4, 11.3):
        assert abs(split(*[point] * F.terms) - f(point)) < 1e-20


@pytest.mark.parametrize("name", ["tanh/2", "tanh/4", "sigmoid/2", "sigmoid/4"])
def test_diagonal_identity_is_proven_by_sympy(name):
    F = decomposition(name)
    diagonal = F.expression.subs(dict.fromkeys(variables(F.terms), x))
    assert sympy.simplify((diagonal - catalogue_entry(F.of).at({})).rewrite(sympy.exp)) == 0


@pytest.mark.parametrize("name", decomposition_names())
def test_evaluation_agrees_with_mpmath_off_the_diagonal(exactly, name):
    F = decomposition(name)
    split = exactly(F.expression, variables(F.terms))
    points = torch.randn(F.terms, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2
    found = F(*points)
    for i in range(20):
        assert float(found[i]) == pytest.approx(float(split(*points[:, i].tolist())), rel=1e-12, abs=1e-12)


def test_evaluation_keeps_shape_and_dtype():
    inputs = [torch.ones(2, 3, dtype=torch.bfloat16)] * 4
    assert decomposition("tanh/4")(*inputs).shape == (2, 3)
    assert decomposition("tanh/4")(*inputs).dtype == torch.bfloat16


@pytest.mark.parametrize("name", decomposition_names())
def test_decomposition_perturbed_by_one_percent_is_refused(name):
    F = decomposition(name)
    with pytest.raises(UsageError, match=r"F = .* at x = .* instead of"):
        Decomposition("perturbed", F.of, F.expression * sympy.Rational(101, 100))


def test_refusal_names_the_worst_point():
    with pytest.raises(UsageError, match=r"at x = (4\.99|5\.00)"):
        Decomposition("bump", "sigmoid", sigmoid(x1) + 1 / (1 + (x2 - 5) ** 2))


def test_undefined_point_is_refused():
    with pytest.raises(UsageError):
        Decomposition("pole", "identity", x1 + 1 / (x2**2 - x2**2 + x1 - x2))


def test_most_terms_are_the_default():
    assert decomposition_for("gelu").name == "gelu/4"
    assert decomposition_for("tanh").terms == 4
    assert decomposition_for("gelu", 2).of == "gelu"


@pytest.mark.parametrize("name", decomposition_names())
def test_every_decomposition_is_offered_under_its_activation(name):
    F = decomposition(name)
    assert decomposition_for(F.of, F.terms) is F
    assert F.terms == int(name.rsplit("/")[-1])


def test_tanh_form_offered_for_erf_gelu_differs_by_what_its_note_says():
    points = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    difference = (torch.nn.functional.gelu(points) - decomposition("gelu/4")(*[points] * 4)).abs().max()
    assert 4e-4 < float(difference) <= 5e-4
    assert "5e-4" in decomposition("gelu/4").note


def test_terms_a_function_does_not_have_list_those_it_has():
    with pytest.raises(UsageError, match="2 or 4"):
        decomposition_for("tanh", 3)


def test_activation_without_decomposition_lists_those_with_one():
    with pytest.raises(UsageError, match="gelu, gelu_tanh, hardswish, mish"):
        decomposition_for("softsign")


def test_unknown_decomposition_names_the_nearest():
    with pytest.raises(UsageError, match="'tanh/4'"):
        decomposition("tanh/5")


def test_copies_and_pickles():
    F = decomposition("gelu/4")
    assert copy.deepcopy(F) is F
    assert pickle.loads(pickle.dumps(F)) == F
