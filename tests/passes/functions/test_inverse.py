"""Derivatives and inverses of the catalogue, against mpmath at 30 digits."""

from dataclasses import replace
from itertools import pairwise

import mpmath
import pytest

from passes.functions import activation_names
from passes.functions.catalogue import catalogue_entry, y

# The functions with a slope that is positive everywhere, and an elementary inverse.
INVERTIBLE = [
    *("identity", "sigmoid", "tanh", "leaky_relu", "prelu", "elu", "celu", "selu"),
    *("softplus", "softsign", "logsigmoid"),
]
OTHER_PARAMETERS = [
    ("leaky_relu", {"negative_slope": 0.3}),
    ("prelu", {"negative_slope": 0.125}),
    ("elu", {"saturation": 1.7}),
    ("celu", {"saturation": 0.4}),
    ("softplus", {"beta": 2.0}),
    ("hardtanh", {"min_val": -0.5, "max_val": 2.5}),
    ("softshrink", {"lambd": 1.25}),
    ("crrelu", {"epsilon": 0.2}),
]
EVERY_ENTRY = [(name, {}) for name in activation_names()] + OTHER_PARAMETERS
EVERY_INVERSE = [(name, given) for name, given in EVERY_ENTRY if name in INVERTIBLE]
# From -15 to 15, without the corners of piecewise functions.
POINTS = [mpmath.mpf(k) * 30 / 999 - 15 for k in range(1000)]


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(30):
        yield


def inverse_error(exactly, name, given, factor=1):
    """Largest relative difference of ``f(factor·inverse(y))`` from y, at y from all of the range of f."""
    entry = catalogue_entry(name)
    f, inverse = exactly(entry.at(given)), exactly(replace(entry, expression=entry.inverse).at(given), (y,))
    values = map(f, POINTS)
    return max(abs(f(factor * inverse(value)) / value - 1) for value in values)


def derivative_error(exactly, name, given, factor=1):
    """Largest difference between ``factor·f'`` and the derivative that mpmath finds numerically."""
    entry = catalogue_entry(name)
    f, slope = exactly(entry.at(given)), exactly(replace(entry, expression=entry.derivative).at(given))
    return max(abs(factor * slope(point) - mpmath.diff(f, point)) for point in POINTS[::7])


@pytest.mark.parametrize(("name", "given"), EVERY_INVERSE)
def test_function_undoes_its_inverse(exactly, name, given):
    assert inverse_error(exactly, name, given) < 1e-15
    assert inverse_error(exactly, name, given, factor=mpmath.mpf("1.01")) > 1e-4


@pytest.mark.parametrize(("name", "given"), EVERY_ENTRY)
def test_derivative_is_the_one_that_mpmath_finds(exactly, name, given):
    assert derivative_error(exactly, name, given) < 1e-12
    assert derivative_error(exactly, name, given, factor=mpmath.mpf("1.01")) > 1e-4


def test_inverse_is_there_for_every_one_to_one_function_but_tanhshrink(exactly):
    offered = {name for name in activation_names() if catalogue_entry(name).inverse is not None}
    rising = {
        name
        for name in activation_names()
        if all(low < high for low, high in pairwise(map(exactly(catalogue_entry(name).at({})), POINTS)))
    }
    assert offered == set(INVERTIBLE) == rising - {"tanhshrink"}
    assert "tanhshrink" in rising
