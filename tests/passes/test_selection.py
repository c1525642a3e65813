from __future__ import annotations

from collections.abc import Callable

import pytest

from passes.selection import Selection, selected, unknown
from rewriter.errors import UsageError
from rewriter.sites import Site

SiteWith = Callable[..., Site]


def test_a_site_keeps_its_function_with_its_parameters_unless_another_is_asked_for(site_with: SiteWith) -> None:
    site = site_with("leaky_relu", negative_slope=0.2)
    assert selected(site, None) == Selection("leaky_relu", {"negative_slope": 0.2})
    assert selected(site, "gelu") == Selection("gelu", {})
    assert selected(site, "x*sigmoid(2*x)") == Selection("x*sigmoid(2*x)", {})


@pytest.mark.parametrize("asked", ["hardshrink", "x*sigmod(x)", "x/abs(x)"])
def test_asking_for_what_has_no_formula_is_an_error(site_with: SiteWith, asked: str) -> None:
    with pytest.raises(UsageError):
        selected(site_with("relu"), asked)


def test_a_label_is_exact() -> None:
    assert Selection("leaky_relu", {"negative_slope": 1 / 3}).label == "leaky_relu(negative_slope=0.3333333333333333)"
    assert Selection("x*sigmoid(2*x)", {}).label == "x*sigmoid(2*x)"


@pytest.mark.parametrize("name", ["gelu", "x*sigmoid(2*x)", "max(x,0)**3/6", "log(1+exp(x))"])
def test_what_has_a_formula_is_known(name: str) -> None:
    assert unknown(Selection(name, {})) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hardshrink", "no formula of hardshrink is known: name another function with --activation"),
        ("rrelu", "no formula of rrelu is known: name another function with --activation"),
        (
            "x/abs(x)",
            "expected an expression that is finite, continuous and differentiable on [-30, 30]; "
            "found no finite value at x = 0 in 'x/abs(x)'; name another function with --activation",
        ),
        (
            "+".join(["x"] * 300),
            "expected an expression of at most 400 characters; found one of 599; "
            "name another function with --activation",
        ),
    ],
)
def test_what_has_none_is_told_with_the_reason(name: str, reason: str) -> None:
    assert unknown(Selection(name, {})) == reason
