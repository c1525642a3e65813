from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from passes.kernels.lowering import Step
from passes.kernels.routine import BlockRoutine
from passes.kernels.traced import traced


def computed(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    routine = traced(function, function)
    assert routine is not None
    result = torch.empty_like(points)
    BlockRoutine(routine.forward())([points], [], [result], saturate=False)
    return result


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 7.0, 12.0, 2.5])
def test_a_power_is_that_of_torch(exponent: float) -> None:
    points = torch.linspace(0.0 if exponent % 1 else -3.0, 3.0, 61, dtype=torch.float64)
    found = computed(lambda x: torch.pow(x, exponent) * 1.5, points)
    torch.testing.assert_close(found, points**exponent * 1.5, rtol=1e-14, atol=0)


def test_whole_powers_are_products_since_the_factor_may_be_negative() -> None:
    routine = traced(lambda x: torch.pow(x, 13.0), lambda x: torch.pow(x, 12.0))
    assert routine is not None
    steps = [step for step in routine.forward().code.steps if isinstance(step, Step)]
    assert {step.operation for step in steps} == {"square", "mul"}


def test_softplus_is_that_of_torch() -> None:
    points = torch.linspace(-60, 60, 121, dtype=torch.float64)
    found = computed(lambda x: functional.softplus(x, threshold=40.0), points)
    torch.testing.assert_close(found, torch.logaddexp(points, torch.zeros(())), rtol=1e-13, atol=0)
