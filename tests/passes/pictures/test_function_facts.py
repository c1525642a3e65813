from __future__ import annotations

import json

import pytest
import sympy
import torch

from passes.evaluation.symbols import x
from passes.functions import activation, activation_names, adversarial
from passes.pictures.function_facts import function_facts
from rewriter.errors import UsageError


@pytest.mark.parametrize("name", activation_names())
def test_the_range_of_the_derivative_is_what_autograd_finds(name: str) -> None:
    spread, kinks = torch.linspace(-30, 30, 60_002, dtype=torch.float64), torch.arange(-6.0, 7.0, dtype=torch.float64)
    points = torch.cat([spread, kinks - 1e-9, kinks + 1e-9]).requires_grad_()
    (slopes,) = torch.autograd.grad(activation(name).double()(points).sum(), points)
    facts = function_facts(name)
    assert facts.least_slope == pytest.approx(float(slopes.min()), rel=1e-4, abs=1e-6)
    assert facts.greatest_slope == pytest.approx(float(slopes.max()), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", activation_names())
def test_the_least_alpha_is_where_adversarial_begins_to_work(name: str) -> None:
    facts = function_facts(name)
    adversarial(name, facts.least_alpha + 1e-4)
    if facts.least_alpha_works:
        adversarial(name, facts.least_alpha)
    else:
        with pytest.raises(UsageError):
            adversarial(name, facts.least_alpha)


@pytest.mark.parametrize("name", activation_names())
def test_the_kind_is_that_of_the_adversarial_function(name: str) -> None:
    facts = function_facts(name)
    assert facts.kind == adversarial(name).kind
    assert (facts.formula is None) == (facts.kind == "table")


def test_an_expression_that_sympy_integrates_shows_its_integral() -> None:
    facts = function_facts("atan(x)", 1.0)
    assert facts.kind == "sympy"
    assert facts.formula is not None
    assert sympy.simplify(facts.formula.diff(x) * (1 / (1 + x**2) + 1)) == 1
    assert facts.formula.subs(x, 0) == 0


def test_a_clamp_is_told_where_the_lift_is_zero() -> None:
    assert ("g at α = 0", "closed, inputs clamped to ±4") in function_facts("sigmoid", 0.0).in_words()


def test_json_is_exact_where_words_are_short() -> None:
    facts = function_facts("selu")
    assert "5253504936777402467096674926473" in json.dumps(facts.as_json())
    assert "5253504936777402467096674926473" not in str(facts.in_words())
