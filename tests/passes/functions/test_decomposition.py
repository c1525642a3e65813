import pytest
import torch
from torch.nn import functional

from passes.functions import decomposition
from rewriter.errors import UsageError


@pytest.mark.parametrize(
    ("text", "of", "terms"),
    [
        ("x1*sigmoid(x2)", "silu", 2),
        ("x1/(1+exp(-x2))", "silu", 2),
        ("x1*sigmoid(x2)", "x*sigmoid(x)", 2),
        ("(x1+x2)/2*sigmoid(x3)", "silu", 3),
        ("log(1+exp((x1+x2)/2))", "softplus", 2),
        ("x1*sigmoid(x2)*tanh(x3)*tanh(x4)*tanh(x5)*tanh(x6)", "x*sigmoid(x)*tanh(x)**4", 6),
    ],
)
def test_a_users_expression_is_a_decomposition(text, of, terms):
    F = decomposition(text, of=of)
    assert (F.name, F.of, F.terms) == (text, of, terms)


def test_a_users_expression_is_evaluated():
    inputs = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    found = decomposition(" x1 * sigmoid(x2)", of="silu")(*inputs)
    torch.testing.assert_close(found, inputs[0] * torch.sigmoid(inputs[1]))
    point = torch.linspace(-30, 30, 201, dtype=torch.float64)
    assert torch.allclose(decomposition("x1*sigmoid(x2)", of="silu")(point, point), functional.silu(point), atol=1e-10)


def test_the_parameters_of_the_activation_are_part_of_the_identity():
    assert decomposition("x1+softplus(-3*x2)/3", of="softplus", beta=3.0).parameters == {"beta": 3.0}
    with pytest.raises(UsageError, match=r"F\(x,…,x\) = softplus\(x\)"):
        decomposition("x1+softplus(-3*x2)/3", of="softplus")


@pytest.mark.parametrize(
    ("text", "of", "message"),
    [
        ("x1*sigmoid(x2)", None, "the activation that the expression decomposes"),
        ("x1*sigmoid(x2)", "gelu", r"= gelu\(x\); found 'x1\*sigmoid\(x2\)', where F = .* at x = .* instead of"),
        ("1.01*x1*sigmoid(x2)", "silu", r"where F = .* at x = .* instead of"),
        ("x1*sigmoid(x2)", "silo", "did you mean 'silu'"),
        ("x1*sigmoid(x2)", "x*sigmod(x)", "did you mean 'sigmoid'"),
        ("x1*sigmoid(x2)", "1/x", "x = 0"),
        ("x1*sigmoid(x3)", "silu", "found x1, x3"),
        ("x2*sigmoid(x3)", "silu", "found x2, x3"),
        ("x1*sigmoid(x1)", "silu", "found x1 in"),
        ("x1-x1", "silu", "found none of them"),
        ("x1*sigmoid(x2)+x9-x9", "silu", "did you mean 'x"),
        ("x1*sigmoid(x2)*x", "silu", "found 'x'"),
        ("x1*sigmoid.real(x2)", "silu", r"found 'sigmoid.real\(x2\)'"),
        ("x1**2*sigmoid(x2)/x3", "silu", "x3 = 0"),
    ],
)
def test_an_expression_that_is_no_decomposition_is_refused(text, of, message):
    with pytest.raises(UsageError, match=message) as refusal:
        decomposition(text, of)
    assert "\n" not in str(refusal.value)


def test_a_formula_takes_no_parameters():
    with pytest.raises(UsageError, match="found beta"):
        decomposition("x1*sigmoid(x2)", of="x*sigmoid(x)", beta=2.0)


@pytest.mark.parametrize(
    ("text", "of", "clamped"),
    [
        ("x1*sigmoid(x2)", "silu", False),
        ("x1*exp(-x2**2)", "x*exp(-x**2)", False),
        ("x1/(1+exp(-x2))", "silu", True),
        ("(exp(x1)-exp(-x2))/(2*cosh(x3))", "tanh", True),
        ("x1**3*cosh(x2)/cosh(x3)", "x**3", True),
    ],
)
def test_what_overflows_is_clamped_and_nothing_else(text, of, clamped):
    assert decomposition(text, of=of).unbounded is clamped
