import os
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from passes.evaluation.table import Table
from passes.functions import adversarial
from passes.kernels.packed import PackedRoutines
from passes.kernels.traced import traced
from passes.kernels.triton_routines import kernel_of
from passes.kernels.triton_source import kernel_text

triton = pytest.importorskip("triton")

COMPARE = """
import math, torch
from passes.evaluation.symbols import variables
from passes.evaluation.table import Table
from passes.functions import adversarial
from passes.functions.adversarial_expression import adversarial_expression
from passes.functions.split_adversarial import split_adversarial
from passes.kernels.packed import PackedRoutines
from passes.kernels.triton_routines import TritonRoutine
import sympy

torch.manual_seed(0)
x1, x2, x3 = variables(3)
FUNCTION = split_adversarial(x1 * sympy.erf(3 * x2) + x3**3, 3, 0.7)
TABLES = tuple(module for module in FUNCTION.modules() if isinstance(module, Table))
assert [table.per_unit for table in TABLES] == [256, 128]
with torch.no_grad():
    for parameter in FUNCTION.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.2)
EXACT = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
LAYOUTS = {
    "rows": (torch.randn(37, 3 * 31), -1),
    "channels first": (torch.randn(2, 3 * 4, 5, 7), 1),
    "channels last": (torch.randn(2, 3 * 4, 5, 7).to(memory_format=torch.channels_last), 1),
}
NOT_FINITE = [math.nan, math.inf, -math.inf]
FINITE = [0.0, -0.0, 1e-6, -1e-6, 0.3, -0.3, 1.5, -1.5, 31.97, -31.97, 32, -32, 33, -33, 6e4, -6e4]

def check(name, packed, dim, bound=None):
    expression = adversarial_expression(FUNCTION.members(), input_clamp=bound)
    coefficients = [c.detach() for c in FUNCTION.coefficients(torch.promote_types(packed.dtype, torch.float32))]
    own = PackedRoutines(expression, dim, TABLES)
    value = own.value(packed, coefficients)
    upstream = torch.randn_like(value)
    gradient, *sums = own.gradient(upstream, packed, coefficients)
    backward = TritonRoutine(expression.backward(packed.dtype == torch.float16))
    found = TritonRoutine(expression.forward()).value(packed, dim, coefficients, TABLES)
    slopes, *totals = backward.gradient(upstream, packed, dim, coefficients, TABLES)
    exact = EXACT[packed.dtype]
    for one, other in ((found, value), (slopes, gradient)):
        assert one.dtype == other.dtype and one.stride() == other.stride(), name
        assert torch.allclose(one, other, rtol=exact, atol=exact, equal_nan=True), (name, one - other)
    exact = EXACT[coefficients[0].dtype] * 10
    assert len(totals) == len(coefficients)
    for one, other in zip(totals, sums, strict=True):
        assert torch.allclose(one, other, rtol=exact, atol=exact * value.numel(), equal_nan=True), (name, one - other)
    return found

for dtype in EXACT:
    for layout, (points, dim) in LAYOUTS.items():
        for spread in (1, 20):
            check((layout, dtype), (points * spread).to(dtype), dim)
    check(("clamped", dtype), (LAYOUTS["rows"][0] * 5).to(dtype), -1, 4.0)
    for branch in range(3):
        for points, is_finite in ((NOT_FINITE, False), (FINITE, True)):
            packed = torch.full((len(points), 3), 0.4, dtype=dtype)
            packed[:, branch] = torch.tensor(points)
            value = check((branch, is_finite, dtype), packed, -1)
            assert is_finite == bool(value.isfinite().all()) and (branch == 0 or value.isnan().any() != is_finite)
    single = adversarial("silu")
    found = single._traced()
    points = torch.tensor([*NOT_FINITE, *FINITE]).to(dtype).requires_grad_()
    value = single(points)
    upstream = torch.randn_like(value)
    (slope,) = torch.autograd.grad(value, points, upstream)
    backward = TritonRoutine(found.backward(dtype == torch.float16))
    own = TritonRoutine(found.forward()).value(points.detach(), -1, [], found.tables)
    (gradient,) = backward.gradient(upstream, points.detach(), -1, [], found.tables)
    exact = EXACT[dtype]
    assert torch.allclose(own, value, rtol=exact, atol=0, equal_nan=True), (dtype, own - value)
    assert torch.allclose(gradient, slope, rtol=exact, atol=0, equal_nan=True), (dtype, gradient - slope)
print("agreed")
"""


def test_kernels_look_up_what_the_routines_of_the_cpu_do():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", COMPARE], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "agreed", done.stderr[-2000:]


@pytest.mark.parametrize("wide", ["fp32", "fp64"])
@pytest.mark.parametrize("has_upstream", [False, True])
def test_a_kernel_with_a_table_compiles_without_the_gpu_it_is_for(wide, has_upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = adversarial("silu")._traced()
    (table,) = function.tables
    routine = function.backward(saturated=True) if has_upstream else function.forward()
    kernel = kernel_of(kernel_text(routine, 1, 1))
    dtype = triton.language.float64 if wide == "fp64" else triton.language.float32
    given = {"_cells": table.cells, "_per_unit": table.per_unit, "WIDE": dtype, "BLOCK": 1024}
    places = {name: next((given[end] for end in given if name.endswith(end)), None) for name in kernel.arg_names}
    kinds = {name: f"*{wide}" if value is None else "constexpr" for name, value in places.items()}
    constants = {(i,): value for i, value in enumerate(places.values()) if value is not None}
    source = triton.compiler.ASTSource(kernel, kinds | {"total": "i64", "row": "i64"}, constants)
    compiled = triton.compile(source, target=triton.backends.compiler.GPUTarget("cuda", 80, 32))
    assert compiled.asm["ttir"].count("tt.load") == (6 if has_upstream else 5)  # 4 rows, and each tensor


def test_a_gpu_is_served_with_tables_and_has_their_rows():
    function = adversarial("silu")
    routines = PackedRoutines(function._traced(), -1, (function.integral,))
    with FakeTensorMode(allow_non_fake_inputs=True):
        points = torch.empty(3, dtype=torch.float64, device="cuda")
        assert routines.serves(points)
        assert not routines.serves(points[0])
        function.to("cuda")
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            rows = function.integral.rows(points.to(dtype))
            assert rows.device == points.device
            assert rows is (function.integral.exact if dtype == torch.float64 else function.integral.coefficients)


def test_a_table_keeps_its_float64_where_there_is_none():
    table = adversarial("silu").integral
    assert isinstance(table, Table)
    exact = table.exact
    table.to("meta")
    assert table.exact is exact
    assert table.to(torch.float16).exact.dtype == torch.float64


def test_modules_of_one_function_share_a_kernel():
    first, second = (adversarial("silu")._traced().forward() for _ in range(2))
    assert first is not second
    assert kernel_of(kernel_text(first, 1, 1)) is kernel_of(kernel_text(second, 1, 1))


def test_a_traced_function_looks_up_what_it_computed():
    table = adversarial("silu").integral
    found = traced(lambda x: table(x.clamp(-4, 4)), torch.sigmoid, (table,))
    points = torch.linspace(-9, 9, 100)
    assert torch.equal(PackedRoutines(found, -1, found.tables).value(points, ()), table(points.clamp(-4, 4)))
