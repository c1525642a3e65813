import ctypes
import math
import re
import struct
import tempfile
from pathlib import Path

import pytest
import sympy
import torch

from passes.evaluation.table import Table
from passes.functions import activation_names, adversarial, decomposition, decomposition_names
from passes.functions.adversarial_expression import adversarial_expression
from passes.kernels import c_library, c_routines
from passes.kernels.c_forms import C_FORMS
from passes.kernels.c_routines import CRoutine
from passes.kernels.c_source import PIECE, function_text
from passes.kernels.crrelu import crrelu_expression
from passes.kernels.lowering import Lowering
from passes.kernels.operations import OPERATIONS
from passes.kernels.routine import BlockRoutine, Routine
from passes.kernels.split import split_expression
from passes.layers import SplitActivation

needs_compiler = pytest.mark.skipif(not c_library.is_available(), reason="needs GCC and a C library with vectors")
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


def test_every_operation_has_a_form_in_c():
    assert C_FORMS.keys() == OPERATIONS.keys()


@needs_compiler
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("name", decomposition_names())
def test_decompositions_are_what_torch_operations_make(name, dtype):
    require_same(split_of(name), points(decomposition(name).terms, dtype))


@needs_compiler
@pytest.mark.parametrize("structure", [False, True])
@pytest.mark.parametrize("name", decomposition_names())
def test_adversarial_functions_and_their_coefficients_are_what_torch_operations_make(name, structure):
    expression, coefficients, tables = adversarial_of(name, structure)
    require_same(expression, points(decomposition(name).terms), coefficients, tables, rounding=10)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", activation_names())
def test_global_adversarial_functions_are_what_torch_operations_make(name, dtype):
    function = adversarial(name)._traced()
    require_same(function, points(2, dtype), (), function.tables)


@needs_compiler
def test_the_coefficient_of_crrelu_has_its_gradient():
    require_same(crrelu_expression(), points(2), [torch.tensor(0.3)], rounding=10)


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


LAYOUTS = {
    "rows": (lambda: normal(70, 4 * UNITS), -1),
    "long rows": (lambda: normal(2, 4 * (2 * PIECE + 5)), 1),
    "batches": (lambda: normal(3, 29, 4 * UNITS), 2),
    "channels first": (lambda: normal(2, 4 * 16, 17, 19), 1),
    "channels last": (lambda: normal(2, 4 * 16, 17, 19).to(memory_format=torch.channels_last), 1),
    "part of a row": (lambda: normal(70, 4 * UNITS + 9)[:, 5:-4], -1),
    "transposed": (lambda: normal(4 * UNITS, 70).t(), 1),
    "no channels in front": (lambda: normal(4 * UNITS, 70), 0),
    "one row": (lambda: normal(1, 4 * 10_000), -1),
    "rows of one row": (lambda: normal(70, 4 * UNITS).as_strided((70, 1, 4 * UNITS), (4 * UNITS, 3, 1)), -1),
    "a side of one element": (lambda: normal(2, 64, 300).as_strided((2, 64, 300, 1), (19_200, 300, 1, 5)), 1),
}


@needs_compiler
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_change_nothing(layout):
    make, dim = LAYOUTS[layout]
    require_same(split_of("gelu/4"), make(), dim=dim)


@pytest.mark.parametrize(
    "cut", [lambda x: x[:, 3:], lambda x: x[..., ::2], lambda x: x[0].expand(9, -1, -1), torch._neg_view]
)
def test_what_lies_in_no_rows_is_left_to_torch_operations(cut):
    values = cut(normal(9, 30, 8 * UNITS))
    target = torch.empty_like(values.chunk(4, -1)[0])
    assert CRoutine(split_of("gelu/4").forward())(values, -1, [], (), target) is None


@needs_compiler
@pytest.mark.parametrize("spread", ["expanded", "transposed", "every second", "negative"])
def test_upstream_gradients_may_lie_anyhow(spread):
    values = points(4)
    upstream = {
        "expanded": lambda: torch.tensor(0.7).expand(ROWS, UNITS),
        "transposed": lambda: torch.randn(UNITS, ROWS).t(),
        "every second": lambda: torch.randn(ROWS, 2 * UNITS)[:, ::2],
        "negative": lambda: torch._neg_view(torch.randn(ROWS, UNITS)),
    }[spread]()
    backward = CRoutine(split_of("gelu/4").backward(False))
    found, expected = torch.empty_like(values), torch.empty_like(values)
    assert backward(values, -1, [], (), found, upstream) == []
    backward(values, -1, [], (), expected, upstream.resolve_neg().clone(memory_format=torch.contiguous_format))
    assert torch.equal(found, expected)


@needs_compiler
def test_other_dtypes_are_left_to_torch_operations():
    values = points(4).to(torch.float8_e4m3fn)
    assert CRoutine(split_of("gelu/4").forward())(values, -1, [], (), values[:, :UNITS].clone()) is None
    assert SplitActivation(decomposition("gelu/4"), dim=-1)(values).dtype == values.dtype


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


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_number_is_read_and_rounded_as_torch_does(dtype):
    code = Lowering()
    x = code.input(sympy.Symbol("x"))
    own = Routine(code, (x,), (), (code.step("mul", x, code.number(1.5)),))
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
def test_threads_change_no_bit():
    expression, coefficients, tables = adversarial_of("gelu/2", structure=False)
    values = points(2)
    upstream = torch.randn(ROWS, UNITS)
    threads, found = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        gradient = torch.empty_like(values)
        try:
            numbers = [float(c) for c in coefficients]
            sums = CRoutine(expression.backward(False))(values, -1, numbers, tables, gradient, upstream)
        finally:
            torch.set_num_threads(threads)
        found.append((sums, gradient))
    assert all(sums == found[0][0] and torch.equal(gradient, found[0][1]) for sums, gradient in found)


@needs_compiler
@pytest.mark.parametrize("branches", [1, 4])
def test_layers_are_compiled_where_the_tensor_is_large(branches, monkeypatch):
    asked = []
    monkeypatch.setattr(c_routines, "compiled", lambda *made: asked.append(made) or c_library.compiled(*made))
    layer = adversarial("silu") if branches == 1 else SplitActivation(decomposition("gelu/4"), dim=-1)
    values = points(branches * 2).requires_grad_()
    layer(values).sum().backward()
    assert len(asked) == 2
    assert not any(c_library.compiled(*made) is None for made in asked)
    layer(values[:3])
    assert len(asked) == 2


@needs_compiler
@pytest.mark.parametrize("name", ["relu", "sigmoid", "silu"])
def test_whatever_else_happens_to_a_large_tensor_happens_to_plain_operations(name):
    own = adversarial(name)
    values = normal(16, 2**11)
    tangent, plain = normal(16, 2**11).flip(0), own._by_rule
    for found, expected in (
        (torch.func.jvp(own, (values,), (tangent,)), torch.func.jvp(plain, (values,), (tangent,))),
        ((torch.func.vmap(own)(values),), (plain(values),)),
        (
            (torch.func.vmap(torch.func.grad(lambda x: own(x).sum()))(values),),
            (torch.func.grad(lambda x: plain(x).sum())(values),),
        ),
    ):
        assert all(torch.allclose(one, other, rtol=1e-12) for one, other in zip(found, expected, strict=True))
    second = []
    for function in (own, plain):
        leaf = values.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(leaf).sum(), leaf, create_graph=True)
        second.append(torch.autograd.grad((slope * tangent).sum(), leaf)[0] if slope.requires_grad else slope)
    assert torch.allclose(*second, rtol=1e-12)


@needs_compiler
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing_gives_the_same_bits(use_reentrant):
    own, values = SplitActivation(decomposition("tanh/4"), dim=-1), points(4).requires_grad_()
    (expected,) = torch.autograd.grad(own(values).square().sum(), values)
    torch.utils.checkpoint.checkpoint(own, values, use_reentrant=use_reentrant).square().sum().backward()
    assert torch.equal(values.grad, expected)


def test_the_compiler_is_named(monkeypatch):
    assert c_library.compiler() == "none" or "gcc" in c_library.compiler().lower()
    monkeypatch.setenv("CC", "")
    assert c_library.compiler() == "none"


@pytest.mark.parametrize("compiler", ["", "false", "no-such-compiler", "gcc -no-such-option"])
def test_torch_operations_serve_where_nothing_compiles(compiler, monkeypatch):
    layer, values = SplitActivation(decomposition("gelu/4"), dim=-1), points(4).requires_grad_()
    expected = layer(values)
    (slope,) = torch.autograd.grad(expected.sum(), values)
    monkeypatch.setenv("CC", compiler)
    assert not c_library.is_available()
    value = layer(values)
    (own,) = torch.autograd.grad(value.sum(), values)
    assert torch.allclose(value, expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(own, slope, rtol=1e-5, atol=1e-6)


def test_torch_operations_serve_where_no_file_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert c_library.compiled("void run(void) { /* nowhere */ }", ()) is None


@needs_compiler
def test_a_library_leaves_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = c_library.compiled("void run(int *x) { *x = 7; }", (ctypes.c_void_p,))
    number = ctypes.c_int()
    run(ctypes.addressof(number))
    assert number.value == 7
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_modules_of_one_function_share_a_library():
    first, second = (adversarial("silu")._traced() for _ in range(2))
    assert first != second
    texts = {function_text(found.backward(False), 1, 1, torch.float32) for found in (first, second)}
    assert len(texts) == 1


@needs_compiler
@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "log1p"])
def test_functions_of_whole_vectors_are_called(name, monkeypatch):
    own, _ = alone(name)
    symbols = []
    load = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda path: symbols.append(Path(path).read_bytes()) or load(path))
    c_library._compiled.cache_clear()
    assert CRoutine(own)(torch.randn(2**15), 0, [], (), torch.empty(2**15)) == []
    assert re.search(rb"_ZGV\w+_" + name.encode() + b"f", symbols[-1])
