"""Routines to compare in C and in torch's operations, and tensors for them."""

import ctypes

import pytest
import sympy
import torch

from passes.evaluation.table import Table
from passes.functions import decomposition
from passes.functions.adversarial_expression import adversarial_expression
from passes.kernels import c_library
from passes.kernels.c_routines import CRoutine
from passes.kernels.lowering import Lowering
from passes.kernels.routine import BlockRoutine, Routine
from passes.kernels.split import split_expression

NEWEST = """
#pragma omp declare simd notinbranch
extern float erff(float);
void run(float *x, _Float16 *y) {
#pragma omp simd
    for (int i = 0; i < 64; i++)
        x[i] = erff(x[i]);
    *y = (_Float16)*x;
}
"""  # what the routines need that GCC and the C library got last
needs_compiler = pytest.mark.skipif(
    c_library.compiled(NEWEST, (ctypes.c_void_p, ctypes.c_void_p)) is None, reason="needs GCC 12 and glibc 2.35"
)
EXACT = {torch.float64: 1e-11, torch.float32: 4e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
ROWS, UNITS = 150, 131  # no multiple of a vector; with two branches and more, enough elements


def split_of(name):
    found = decomposition(name)
    return split_expression(found.expression, 4.0 if found.unbounded else None)


def adversarial_of(name, structure):
    found = decomposition(name)
    function = found.adversarial(0.7, "structure" if structure else "sum")
    tables = tuple(module for module in function.modules() if isinstance(module, Table))
    members = function.members()
    expression = adversarial_expression(
        members, found.expression if structure else None, term_clamp=function.term_clamp
    )
    return expression, [c.detach() for c in function.coefficients(torch.float32)], tables


def points(branches, dtype=torch.float32):
    generator = torch.Generator().manual_seed(branches)
    values = (torch.randn(ROWS, branches * UNITS, generator=generator) * 2).to(dtype)
    return values.where(values.abs() != 4, 3)  # where a clamp ends, a slope has two values


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def of_one_step(operation, *numbers):
    """Return the routine of an operation on one variable and numbers."""
    code = Lowering()
    x = code.input(sympy.Symbol("x"))
    return Routine(code, (x,), (), (code.step(operation, x, *map(code.number, numbers)),))


def by_operations(expression, values, coefficients=(), tables=(), dim=-1):
    """Value and gradient by the routines that every machine has."""
    saturated = values.dtype == torch.float16
    chunks = values.chunk(len(expression.variables), dim)
    numbers = [*map(float, coefficients), *tables]
    value, gradient = torch.empty_like(chunks[0]), torch.empty_like(values)
    BlockRoutine(expression.forward())(chunks, numbers, [value], saturate=True)
    upstream = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(values.dtype)
    backward = BlockRoutine(expression.backward(saturated))
    sums = backward([upstream, *chunks], numbers, gradient.chunk(len(chunks), dim), saturate=False)
    return upstream, value, gradient, sums


def require_same(expression, values, coefficients=(), tables=(), dim=-1, rounding=1.0):
    upstream, value, gradient, sums = by_operations(expression, values, coefficients, tables, dim)
    numbers = [float(c) for c in coefficients]
    own, slopes = torch.empty_like(value), torch.empty_like(gradient)
    forward, backward = CRoutine(expression.forward()), CRoutine(expression.backward(values.dtype == torch.float16))
    assert forward(values, dim, numbers, tables, own) == []
    totals = backward(values, dim, numbers, tables, slopes, upstream)
    assert totals is not None
    tolerance = EXACT[values.dtype] * rounding
    pairs = ((own, value), (slopes, gradient), (torch.tensor(totals), torch.tensor(sums)))
    for found, expected in pairs:
        size = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
        assert torch.allclose(found, expected, rtol=tolerance, atol=tolerance * size)
