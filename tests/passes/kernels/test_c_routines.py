import pytest
import torch

from passes.functions import activation_names, adversarial, decomposition, decomposition_names
from passes.kernels import c_library, c_routines
from passes.kernels.c_routines import CRoutine
from passes.kernels.c_source import PIECE
from passes.kernels.crrelu import crrelu_expression
from passes.layers import SplitActivation
from tests.passes.kernels.compared import (
    EXACT,
    ROWS,
    UNITS,
    adversarial_of,
    needs_compiler,
    normal,
    points,
    require_same,
    split_of,
)


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


def test_branches_of_several_widths_are_refused():
    with pytest.raises(RuntimeError, match="size of tensor"):
        SplitActivation(decomposition("gelu/4"), dim=-1)(normal(100, 4 * UNITS + 1))


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
