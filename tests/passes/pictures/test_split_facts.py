from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from passes.functions import decomposition, decomposition_names
from passes.pictures.split_facts import TermFacts, split_facts
from rewriter.errors import UsageError


def _sigmoid(u: float) -> float:
    return 1 / (1 + math.exp(-u))


KERNELS: dict[str, Callable[[float], float]] = {
    "scale": lambda u: 1.0,
    "scale·exp(rate·x)": math.exp,
    "scale·sigmoid(rate·(x - centre))": _sigmoid,
    "scale·sigmoid'(rate·(x - centre))": lambda u: _sigmoid(u) * (1 - _sigmoid(u)),
}


def kernel(term: TermFacts, at: float) -> float:
    rate = 0.0 if term.rate is None else term.rate
    return term.coefficients["scale"] * KERNELS[term.kernel](rate * (at - term.coefficients.get("centre", 0.0)))


@pytest.mark.parametrize("name", decomposition_names())
def test_each_frozen_slope_is_the_partial_derivative_that_autograd_finds(name: str) -> None:
    found = decomposition(name)
    facts = split_facts(found)
    assert [term.variable for term in facts.terms] == [f"x{i + 1}" for i in range(found.terms)]
    for at in (-1.7, 0.4, 2.3):
        for i, term in enumerate(facts.terms):
            inputs = [
                torch.tensor(at if j == i else 1.0, dtype=torch.float64, requires_grad=True) for j in range(found.terms)
            ]
            partial = torch.autograd.grad(found(*inputs), inputs[i])[0].item()
            free = term.slope.free_symbols
            assert float(term.slope.subs(dict.fromkeys(free, at)).evalf()) == pytest.approx(partial, abs=1e-12)
            if term.family != "table":
                assert kernel(term, at) == pytest.approx(abs(partial), rel=1e-9)


def test_a_lift_that_does_not_work_is_refused() -> None:
    with pytest.raises(UsageError, match="no closed form"):
        split_facts(decomposition("gelu/2"), 0.0)
