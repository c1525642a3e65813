import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.evaluation.symbols import variables, x
from passes.functions.grammar import parse_expression
from rewriter.errors import UsageError

INSIDE = st.floats(-29.9, 29.9).map(lambda value: round(value, 4))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1/x", "x = 0"),
        ("log(x)", "x = 0"),
        ("sqrt(x)", "x = -0.0"),
        ("x**(1/3)", "x = -0.0"),
        ("sqrt(abs(x))", "x = 0"),
        ("tanh(x)/x", "x = 0"),
        ("exp(x**2)", "x = -26.6"),
        ("1/(exp(x)-2)", "x = 0.693147"),
        ("log(4-x)", r"x = 4"),
    ],
)
def test_the_undefined_point_nearest_to_0_is_named(text, place):
    with pytest.raises(UsageError, match=rf"on \[-30, 30\]; found .* at {place}"):
        parse_expression(text, (x,))


@pytest.mark.parametrize(
    "shape", ["1/({u})", "1/({u})**2", "atan(1/({u}))", "abs({u})/({u})", "sqrt(abs({u}))", "abs({u})**(1/3)"]
)
@settings(max_examples=15, derandomize=True)
@given(at=INSIDE)
def test_a_pole_a_jump_or_a_vertical_slope_is_found_wherever_it_is(shape, at):
    with pytest.raises(UsageError) as refusal:
        parse_expression(shape.format(u=f"x-({at})"), (x,))
    named = float(str(refusal.value).split("x = ")[1].split(" ")[0])
    assert named == pytest.approx(at, abs=1e-4)


@pytest.mark.parametrize("shape", ["abs({u})", "relu({u})", "max({u},0.3)", "tanh(9*({u}))", "sqrt(1e-3+({u})**2)"])
@settings(max_examples=8, derandomize=True)
@given(at=INSIDE)
def test_kinks_and_steep_smooth_places_are_allowed(shape, at):
    parse_expression(shape.format(u=f"x-({at})"), (x,))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x1/x2", "x2 = 0"),
        ("x1+1/(x2-1.23456)", "x2 = 1.23456"),
        ("x1*log(x2)", "x2 = 0"),
        ("x1/(1+x2*x3)", "x[123] = "),
        ("x1/(x1-x2)", "x1 = "),
    ],
)
def test_several_variables_are_examined_along_each(text, place):
    with pytest.raises(UsageError, match=place):
        parse_expression(text, variables(3))


def test_a_product_of_several_variables_is_allowed():
    expression = parse_expression("(exp(x1)-exp(-x2))/(exp(x3)+exp(-x4))", variables(4))
    assert expression.free_symbols == set(variables(4))


def test_the_default_dtype_does_not_matter():
    torch.set_default_dtype(torch.float16)
    try:
        parse_expression("x*sigmoid(x)", (x,))
        with pytest.raises(UsageError, match=r"x = 0\.1234"):
            parse_expression("1/(x-0.1234)**2", (x,))
    finally:
        torch.set_default_dtype(torch.float32)
