import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

COMPARE = """
import sys, torch
from passes.functions import activation_names, adversarial, decomposition, decomposition_names
from passes.functions.adversarial_expression import adversarial_expression
from passes.kernels.packed import PackedRoutines
from passes.kernels.split import split_expression
from passes.kernels.triton_routines import TritonRoutine
from passes.evaluation.table import Table
from rewriter.errors import UsageError

torch.manual_seed(0)
LAYOUTS = {
    "rows": (lambda n: torch.randn(37, n * 31), -1),
    "channels first": (lambda n: torch.randn(2, n * 3, 5, 7), 1),
    "channels last": (lambda n: torch.randn(2, n * 3, 5, 7).to(memory_format=torch.channels_last), 1),
    "part of a row": (lambda n: torch.randn(9, n * 8 + 3)[:, 3:], -1),
    "empty": (lambda n: torch.empty(0, n * 4), -1),
}

def check(name, expression, coefficients, packed, dim, rounding=1.0, tables=()):
    own = PackedRoutines(expression, dim, tables)
    value = own.value(packed, coefficients)
    upstream = torch.randn_like(value)
    forward = TritonRoutine(expression.forward())
    backward = TritonRoutine(expression.backward(packed.dtype == torch.float16))
    found = [forward.value(packed, dim, coefficients, tables)]
    found += backward.gradient(upstream, packed, dim, coefficients, tables)
    expected = [value, *own.gradient(upstream, packed, coefficients)]
    exact = {torch.float64: 1e-11, torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
    tolerance = exact[packed.dtype] * rounding
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape, name
        assert one.numel() == 0 or one.stride() == other.stride(), (name, one.stride(), other.stride())
        size = float(other.abs().max()) if other.numel() else 1
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * max(1, size)), (name, one - other)

def check_unary(name, function, dtype):
    found = function._traced()
    # With a small lift both lose digits: what nearly cancels is divided by the lift.
    lost = 1.0 if function.alpha == 1 else 100.0
    x = torch.cat([torch.randn(500) * 5, torch.logspace(-6, 1.6, 60), -torch.logspace(-6, 1.6, 60)]).to(dtype)
    x = x[(x.abs() <= 3.9) | (function.clamp is None)].requires_grad_()
    value = function(x)
    upstream = torch.randn_like(value)
    (gradient,) = torch.autograd.grad(value, x, upstream)
    own = TritonRoutine(found.forward()).value(x.detach(), -1, [], found.tables)
    backward = TritonRoutine(found.backward(dtype == torch.float16))
    (slope,) = backward.gradient(upstream, x.detach(), -1, [], found.tables)
    tolerance = {torch.float64: 1e-11, torch.float32: 4e-6, torch.float16: 2e-3}[dtype] * lost
    for one, other in ((own, value), (slope, gradient)):
        last = float(torch.finfo(dtype).smallest_normal) / 512
        assert torch.allclose(one, other, rtol=tolerance, atol=last), (name, x[(one / other - 1).abs().argmax()])

for name in decomposition_names():
    d = decomposition(name)
    clamp = 4.0 if d.unbounded else None
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        packed = (LAYOUTS["rows"][0](d.terms) * 3).to(dtype)
        packed = packed.where(packed != packed.round(), 0.4)
        check(name, split_expression(d.expression, clamp), [], packed, -1)
    packed = LAYOUTS["rows"][0](d.terms)
    for structure in (None, d.expression):
        function = d.adversarial(0.7, "sum" if structure is None else "structure")
        coefficients = [c.detach() for c in function.coefficients(torch.float32)]
        tables = tuple(module for module in function.modules() if isinstance(module, Table))
        expression = adversarial_expression(function.members(), structure, term_clamp=function.term_clamp)
        check("A " + name, expression, coefficients, packed, -1, rounding=10.0, tables=tables)  # sums
for name in activation_names():
    for alpha in (1.0, 0.02, 0.0):
        try:
            function = adversarial(name, alpha)
        except UsageError:  # too small a lift
            continue
        for dtype in (torch.float64, torch.float32, torch.float16):
            check_unary(f"g of {name}, {alpha}, {dtype}", function, dtype)
for layout, (make, dim) in LAYOUTS.items():
    check(layout, split_expression(decomposition("tanh/4").expression, 4.0), [], make(4), dim)
print("agreed")
"""


def test_kernels_agree_with_the_routines_of_the_cpu():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", COMPARE], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "agreed", done.stderr[-2000:]
