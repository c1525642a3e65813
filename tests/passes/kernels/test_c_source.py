import ctypes
import math
import re
import struct
from pathlib import Path

import pytest
import sympy
import torch

from passes.functions import adversarial
from passes.kernels import c_library
from passes.kernels.c_routines import CRoutine
from passes.kernels.c_source import function_text
from passes.kernels.lowering import Lowering
from passes.kernels.routine import Routine
from tests.passes.kernels.compared import ROWS, UNITS, needs_compiler, of_one_step, split_of


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_number_is_read_and_rounded_as_torch_does(dtype):
    own = of_one_step("mul", 1.5)
    values = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    found = torch.empty_like(values)
    assert CRoutine(own)(values, 0, [], (), found) == []
    exact = values.float() * 1.5  # which is often in the middle of two
    limit = torch.finfo(torch.float16).max
    expected = (exact.clamp(-limit, limit) if dtype == torch.float16 else exact).to(dtype)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found[~found.isnan()], expected[~expected.isnan()])


@needs_compiler
def test_float16_saturates_where_its_gradient_becomes_infinite():
    expression = split_of("squared_relu/2")
    values = torch.full((ROWS, 2 * UNITS), 200.0, dtype=torch.float16)
    values[:, 0] = values[:, UNITS] = 300.0
    value, gradient = torch.empty(ROWS, UNITS, dtype=torch.float16), torch.empty_like(values)
    CRoutine(expression.forward())(values, -1, [], (), value)
    CRoutine(expression.backward(saturated=True))(values, -1, [], (), gradient, torch.full_like(value, 6e4))
    assert value[0, :2].tolist() == [65504.0, 40000.0]
    assert gradient[0, :2].tolist() == [0.0, math.inf]


@needs_compiler
def test_no_bits_of_nan_round_to_a_bfloat16_number():
    code = Lowering()
    x, factor = code.input(sympy.Symbol("x")), code.input(sympy.Symbol("c"), uniform=True)
    own = Routine(code, (x,), (factor,), (code.step("mul", x, factor),))
    (longest,) = struct.unpack("<f", b"\xff\xff\xff\x7f")
    found = torch.empty(2**15, dtype=torch.bfloat16)
    assert CRoutine(own)(torch.ones_like(found), 0, [longest], (), found) == []
    assert found.isnan().all()


@needs_compiler
def test_modules_of_one_function_have_one_text():
    first, second = (adversarial("silu")._traced() for _ in range(2))
    assert first != second
    texts = {function_text(found.backward(False), 1, 1, torch.float32) for found in (first, second)}
    assert len(texts) == 1


@needs_compiler
@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "log1p"])
def test_functions_of_whole_vectors_are_called(name, monkeypatch):
    own = of_one_step(name)
    symbols = []
    load = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda path: symbols.append(Path(path).read_bytes()) or load(path))
    c_library._compiled.cache_clear()
    assert CRoutine(own)(torch.randn(2**15), 0, [], (), torch.empty(2**15)) == []
    assert re.search(rb"_ZGV\w+_" + name.encode() + b"f", symbols[-1])
