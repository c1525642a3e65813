from __future__ import annotations

import pytest
import sympy

from passes.evaluation.symbols import variables
from passes.kernels.lowering import Lowering, Step

A, B = variables(2)


@pytest.mark.parametrize(
    ("expression", "operations"),
    [
        (sympy.exp(-A), ["exp_of_minus"]),
        (sympy.exp(-A - B), ["add", "exp_of_minus"]),
        (sympy.exp(A - B), ["scaled_add", "exp"]),
        (1.5 * A + 0.5 * B**3, ["mul", "square", "add_product"]),
        (A + B * A, ["add_product"]),
        (A * (1 - A), ["bell"]),
    ],
)
def test_an_expression_takes_few_operations(expression: sympy.Expr, operations: list[str]) -> None:
    code = Lowering()
    for symbol in (A, B):
        code.input(symbol)
    code.lower_all([expression])
    assert sorted(step.operation for step in code.steps if isinstance(step, Step)) == sorted(operations)


@pytest.mark.parametrize("exponent", [2, 3, 8, 13, 16])
def test_whole_powers_are_products_since_the_factor_may_be_negative(exponent: int) -> None:
    code = Lowering()
    code.input(A)
    code.lower_all([A**exponent])
    assert {step.operation for step in code.steps if isinstance(step, Step)} <= {"square", "mul"}
