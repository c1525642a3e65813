import math
import re

import pytest
import sympy
import torch

from passes.functions import adversarial
from passes.kernels.c_forms import C_FORMS
from passes.kernels.c_routines import CRoutine
from passes.kernels.lowering import Lowering
from passes.kernels.operations import OPERATIONS
from passes.kernels.routine import BlockRoutine, Routine
from tests.passes.kernels.compared import needs_compiler

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.3, -0.7, 1e-30, -1e-6, 4.0, -4.0, 30.0, -90.0, 1e5, math.inf, -math.inf, math.nan)
NUMBERS = {
    "scaled_add": {2: -0.5},
    "affine": {0: 0.5, 2: 3.0},
    "add_product": {3: 1.5},
    "clamp": {1: 4.0},
    "at_least": {1: -1.0},
    "at_most": {1: 4.0},
    "within": {2: 4.0},
}
CONDITIONS = {"and": {0, 1}, "or": {0, 1}, "not": {0}, "where": {0}}


def alone(operation):
    """Return a routine of one operation, and of how many variables."""
    code = Lowering()
    operands, inputs = [], []
    for place in range(1 + max(int(digit) for digit in re.findall(r"\{(\d)\}", C_FORMS[operation]))):
        if place in NUMBERS.get(operation, {}):
            operands.append(code.number(NUMBERS[operation][place]))
            continue
        inputs.append(code.input(sympy.Symbol(f"x{place}")))
        is_condition = place in CONDITIONS.get(operation, ())
        operands.append(code.step("gt", inputs[-1], code.number(0.0)) if is_condition else inputs[-1])
    result = code.step(operation, *operands)
    if OPERATIONS[operation].is_condition:
        result = code.step("where", result, code.number(1.0), code.number(0.0))
    return Routine(code, tuple(inputs), (), (result,)), len(inputs)


def test_every_operation_has_a_form_in_c():
    assert C_FORMS.keys() == OPERATIONS.keys()


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - {"lookup"}))
def test_operations_take_every_number_as_torch_does(operation, dtype):
    own, count = alone(operation)
    each = torch.cartesian_prod(*[torch.tensor(SPECIAL, dtype=dtype)] * count).reshape(-1, count)
    values = each.t().repeat(1, -(-(2**15) // each.numel())).flatten()
    found, exact = torch.empty(values.numel() // count, dtype=dtype), torch.empty(values.numel() // count).double()
    assert CRoutine(own)(values, 0, [], (), found) == []
    BlockRoutine(own)(values.double().chunk(count), [], [exact], saturate=True)
    ends = torch.finfo(dtype)
    tolerance = {"rtol": 32 * ends.eps, "atol": ends.smallest_normal}
    assert torch.allclose(found, exact.to(dtype), **tolerance, equal_nan=True)


@needs_compiler
def test_tables_take_every_number_as_torch_does():
    table = adversarial("silu").integral
    values = torch.tensor(SPECIAL).repeat(2**12)
    code = Lowering()
    x, grid = code.input(sympy.Symbol("x")), code.input(sympy.Symbol("table"), uniform=True)
    own = Routine(code, (x,), (grid,), (code.step("lookup", x, grid),))
    found = torch.empty_like(values)
    assert CRoutine(own)(values, 0, [], (table,), found) == []
    assert torch.allclose(found, table(values), rtol=1e-6, atol=0, equal_nan=True)
