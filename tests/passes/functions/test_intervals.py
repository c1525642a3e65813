import pytest
from sympy import Piecewise, sin, tanh

from passes.evaluation.symbols import x
from passes.functions.intervals import intervals


def test_pieces_are_told_apart_with_their_ends():
    slope = Piecewise((0, x <= -3), (1, x > 3), (x / 6, True))
    assert intervals(slope) == ((-3.0, 3.0), (0, x / 6, 1))
    assert intervals(tanh(x)) == ((), (tanh(x),))


def test_ends_of_polynomials_are_found():
    assert intervals(Piecewise((1, x**2 > 4), (2, True))) == ((-2.0, 2.0), (1, 2, 1))


@pytest.mark.parametrize("condition", [tanh(x) > x**3, sin(x) > x, x**2 - x < -1])
def test_ends_that_are_not_found_surely_are_none(condition):
    assert intervals(Piecewise((x, condition), (1, True), evaluate=False)) is None
