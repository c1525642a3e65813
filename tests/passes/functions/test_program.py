import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Abs, Piecewise, atan, cosh, erf, exp, log, sinh, sqrt, tanh

from passes.evaluation.symbols import sigmoid, softplus, variables, x
from passes.functions.program import compile_expression
from rewriter.errors import UsageError

x1, x2 = variables(2)
LEAVES = [x1, x2, sympy.Integer(2), sympy.Rational(-1, 3), sympy.pi]
UNARY = [
    tanh,
    erf,
    atan,
    sigmoid,
    softplus,
    Abs,
    lambda e: -e,
    lambda e: e**2,
    lambda e: 1 / (1 + e**2),
    lambda e: exp(-(e**2)),
]
BINARY = [
    sympy.Add,
    sympy.Mul,
    lambda a, b: a - b,
    lambda a, b: a / (2 + cosh(tanh(b))),
    lambda a, b: Piecewise((a, x1 > x2), (b, True)),
]


def expressions():
    def grow(inner):
        unary = st.builds(lambda f, a: f(a), st.sampled_from(UNARY), inner)
        return unary | st.builds(lambda f, a, b: f(a, b), st.sampled_from(BINARY), inner, inner)

    return st.recursive(st.sampled_from(LEAVES), grow, max_leaves=6)


@settings(max_examples=60)
@given(expressions(), st.floats(-3, 3), st.floats(-3, 3))
def test_program_agrees_with_mpmath(exactly, expression, a, b):
    program = compile_expression(expression, (x1, x2))
    inputs = [torch.tensor([value], dtype=torch.float64) for value in (a, b)]
    expected = float(exactly(expression, (x1, x2))(a, b))
    result = program(*inputs)
    assert result.dtype == torch.float64
    assert float(result) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("expression", [sinh(x), sqrt(1 + x**2), log(3 + x), x**3 / (1 + x**2), 2 / (x + 5), 1 - x])
def test_remaining_operations_agree_with_mpmath(exactly, expression):
    value = float(compile_expression(expression, (x,))(torch.tensor(0.7, dtype=torch.float64)))
    assert value == pytest.approx(float(exactly(expression)(0.7)), rel=1e-12)


def test_number_is_spread_over_the_shape_and_dtype_of_the_input():
    result = compile_expression(sympy.Rational(1, 3), (x,))(torch.zeros(2, 3, dtype=torch.float64))
    assert torch.equal(result, torch.full((2, 3), 1 / 3, dtype=torch.float64))


def test_shared_parts_are_computed_once():
    shared = tanh(softplus(x))
    assert len(compile_expression(shared + x * (1 - shared**2), (x,)).steps) == 6


def test_function_without_torch_operation_is_refused():
    with pytest.raises(UsageError, match="besselj"):
        compile_expression(sympy.besselj(0, x), (x,))
