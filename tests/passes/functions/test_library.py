import copy
import pickle

import pytest
import sympy
import torch

from passes.evaluation.symbols import sigmoid, variables, x
from passes.functions import (
    Decomposition,
    activation,
    activation_names,
    decomposition,
    decomposition_for,
    decomposition_names,
    library,
)
from passes.functions.catalogue import catalogue_entry
from passes.functions.library import splits_of
from rewriter.errors import UsageError

x1, x2 = variables(2)


@pytest.mark.parametrize("name", decomposition_names())
def test_diagonal_is_the_activation_for_mpmath(exactly, name):
    F = decomposition(name)
    split, f = exactly(F.expression, variables(F.terms)), exactly(catalogue_entry(F.of).at({}))
    for point in (-9.7, -2.2, -0.31, 1e-4, 0.77, 3.4, 11.3):
        assert abs(split(*[point] * F.terms) - f(point)) < 1e-20


# What the catalogue has and the library does not split, as its note says.
UNSPLIT = {"identity"}


def test_every_other_activation_of_the_catalogue_has_a_decomposition():
    assert {name for name in activation_names() if not splits_of(name)} == UNSPLIT
    assert all(name in library.__doc__ for name in UNSPLIT)


@pytest.mark.parametrize("name", decomposition_names())
def test_diagonal_is_the_activation_in_double_and_single_precision(exactly, name):
    F = decomposition(name)
    f = exactly(catalogue_entry(F.of).at({}))
    points = torch.linspace(-4.0 if F.unbounded else -30.0, 4.0 if F.unbounded else 30.0, 301, dtype=torch.float64)
    expected = torch.tensor([float(f(point)) for point in points.tolist()], dtype=torch.float64)
    scale = expected.abs().clamp(min=1.0)
    assert float(((F(*[points] * F.terms) - expected) / scale).abs().max()) < 1e-10
    single = F(*[points.float()] * F.terms)
    assert single.dtype == torch.float32
    assert float(((single - expected) / scale).abs().max()) < 1e-5


@pytest.mark.parametrize("name", decomposition_names())
def test_first_and_second_gradients_are_those_of_finite_differences(name):
    F = decomposition(name)
    generator = torch.Generator().manual_seed(7)
    points = (torch.randn(F.terms, 7, dtype=torch.float64, generator=generator) * 1.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: F(*p), points)
    assert torch.autograd.gradgradcheck(lambda p: F(*p), points)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("elu/2", {"saturation": 0.3}),
        ("celu/2", {"saturation": 0.3}),
        ("softplus/2", {"beta": 2.5}),
        ("hardtanh/2", {"min_val": -0.5, "max_val": 2.5}),
        ("leaky_relu/2", {"negative_slope": 0.2}),
        ("prelu/2", {"negative_slope": 0.125}),
        ("softshrink/2", {"lambd": 1.25}),
        ("crrelu/2", {"epsilon": 0.5}),
        ("crrelu/3", {"epsilon": 0.5}),
    ],
)
def test_parameters_of_the_activation_reach_its_decomposition(name, parameters):
    F, points = decomposition(name, **parameters), torch.linspace(-9, 9, 101)
    expected = activation(F.of, **parameters)(points)
    assert torch.allclose(F(*[points] * F.terms), expected, atol=1e-5)
    assert not torch.allclose(decomposition(name)(*[points] * F.terms), expected, atol=1e-2)


def test_a_parameter_that_the_activation_does_not_have_is_refused():
    with pytest.raises(UsageError, match="parameter of silu"):
        decomposition("silu/2", beta=2.0)


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


@pytest.mark.parametrize("name", ["relu/2", "relu6/2", "hardtanh/2", "leaky_relu/2", "prelu/2", "softshrink/2"])
def test_small_signals_pass_pieces_of_straight_lines_without_rounding(name):
    F, points = decomposition(name), torch.logspace(-30, -3, 100) * torch.tensor([[1.0], [-1.0]])
    assert torch.allclose(F(points, points), activation(F.of)(points), rtol=1e-6, atol=0.0)


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
    with pytest.raises(UsageError, match=r"found 'identity'.*gelu, gelu_tanh, hardsigmoid, hardswish"):
        decomposition_for("identity")


def test_unknown_decomposition_names_the_nearest():
    with pytest.raises(UsageError, match="'tanh/4'"):
        decomposition("tanh/5")


def test_a_name_of_the_library_must_be_of_the_activation_that_is_asked_for():
    assert decomposition("gelu/4", "gelu") == decomposition("gelu/4", "gelu_tanh") == decomposition("gelu/4")
    with pytest.raises(UsageError, match="a decomposition of gelu; found 'silu/2', which is of silu"):
        decomposition("silu/2", "gelu")


def test_copies_and_pickles():
    F = decomposition("gelu/4")
    assert copy.deepcopy(F) is F
    assert pickle.loads(pickle.dumps(F)) == F
