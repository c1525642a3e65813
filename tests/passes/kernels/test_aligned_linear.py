from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from passes.kernels.aligned_linear import Inner, aligned_linear

BOTH = Inner(input=True, output=True)
SIDES = [Inner(input, output) for input, output in itertools.product((False, True), repeat=2)]
SHAPES = [(9,), (5, 9), (2, 3, 9), (0, 9)]


def tensors(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, bias: bool = True) -> list[Any]:
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, dtype=dtype).requires_grad_()

    return [normal(*shape), normal(7, shape[-1]), normal(7) if bias else None]


def with_gradients(call: Callable[..., Tensor], arguments: list[Any]) -> list[Tensor]:
    value = call(*arguments)
    upstream = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).reshape(value.shape)
    return [value, *torch.autograd.grad(value, [one for one in arguments if one is not None], upstream)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("inner", SIDES)
def test_value_and_gradients_are_those_of_a_linear(inner: Inner, shape: tuple[int, ...], bias: bool) -> None:
    arguments = tensors(shape, bias=bias)
    found = with_gradients(lambda *given: aligned_linear(*given, inner), arguments)
    for own, expected in zip(found, with_gradients(F.linear, arguments), strict=True):
        assert own.shape == expected.shape
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "line"), [(torch.float32, 16), (torch.float64, 8)])
@pytest.mark.parametrize("inner", SIDES)
def test_rows_of_inner_sides_alone_begin_at_a_line(inner: Inner, dtype: torch.dtype, line: int) -> None:
    input, weight, bias = tensors((5, 9), dtype)
    seen: list[Tensor] = []
    before = input * 1
    before.register_hook(seen.append)
    value = aligned_linear(before, weight, bias, inner)
    value.sum().backward()
    assert value.stride() == (line if inner.output else 7, 1)
    assert seen[0].stride() == (16 if inner.input else 9, 1)


def test_aligned_widths_are_torchs_own() -> None:
    input, weight = torch.randn(3, 32), torch.randn(16, 32, requires_grad=True)
    value = aligned_linear(input, weight, None, BOTH)
    assert type(value.grad_fn) is type(F.linear(input, weight).grad_fn)


def test_a_frozen_weight_has_no_gradient() -> None:
    input, weight, bias = tensors((5, 9))
    weight.requires_grad_(False)
    aligned_linear(input, weight, bias, BOTH).sum().backward()
    assert weight.grad is None
    assert input.grad is not None


def test_derivatives_of_derivatives_and_in_forward_mode_are_exact() -> None:
    arguments = tensors((2, 3, 9))

    def squared(*given: Tensor) -> Tensor:
        return aligned_linear(*given, BOTH).square()

    assert torch.autograd.gradcheck(squared, arguments, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(squared, arguments)


@pytest.mark.parametrize("bias", [True, False])
def test_function_transforms_give_what_a_linear_gives(bias: bool) -> None:
    input, weight, offset = tensors((4, 9), bias=bias)

    def total(linear: Callable[..., Tensor], given: Tensor, weights: Tensor) -> Tensor:
        return linear(given, weights, offset).square().sum()

    def aligned(*given: Any) -> Tensor:
        return aligned_linear(*given, BOTH)

    for transform in (
        lambda linear: torch.func.vmap(lambda row: linear(row, weight, offset))(input),
        lambda linear: torch.func.vmap(torch.func.grad(lambda w, row: total(linear, row, w)), (None, 0))(weight, input),
        lambda linear: torch.func.jvp(lambda row: linear(row, weight, offset), (input,), (input.cos(),))[1],
        lambda linear: torch.func.jacrev(lambda row: linear(row, weight, offset))(input[0]),
    ):
        torch.testing.assert_close(transform(aligned), transform(F.linear), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inner", SIDES)
def test_a_compiled_linear_is_the_same_and_whole(inner: Inner) -> None:
    arguments = tensors((5, 9))
    torch.compiler.reset()
    compiled = torch.compile(lambda *given: aligned_linear(*given, inner), fullgraph=True, backend="aot_eager")
    for own, expected in zip(with_gradients(compiled, arguments), with_gradients(F.linear, arguments), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inner", SIDES)
def test_a_compiler_multiplies_by_aligned_weights(inner: Inner) -> None:
    shapes: list[set[tuple[int, ...]]] = []

    def keep(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        products = (torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
        shapes.append({tuple(node.meta["val"].shape) for node in module.graph.nodes if node.target in products})
        return make_boxed_func(module.forward)

    torch.compiler.reset()
    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep)
    compiled = torch.compile(lambda *given: aligned_linear(*given, inner), backend=backend, fullgraph=True)
    with_gradients(compiled, tensors((5, 9), torch.float32))
    forward, backward = shapes
    assert forward == {(5, 16 if inner.output else 7)}
    assert backward == {(5, 16 if inner.input else 9), (7, 9)}


def test_short_floats_are_torchs_own() -> None:
    arguments = tensors((5, 9), torch.bfloat16)
    assert aligned_linear(*arguments, BOTH).is_contiguous()


def test_autocast_decides_on_the_dtype() -> None:
    arguments = tensors((5, 9), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert aligned_linear(*arguments, BOTH).dtype == torch.bfloat16


class Layer(torch.nn.Module):
    def forward(self, input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return aligned_linear(input, weight, bias, BOTH)


def test_exporters_and_tracers_see_one_linear() -> None:
    arguments = tuple(tensors((5, 9)))
    exported = torch.export.export(Layer(), arguments)
    assert [node.target for node in exported.graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.linear.default
    ]
    symbolic = torch.fx.symbolic_trace(Layer())
    assert [node.target for node in symbolic.graph.nodes if node.op == "call_function"] == [F.linear]
    traced = torch.jit.trace(Layer(), arguments, check_trace=False)
    assert {node.kind() for node in traced.graph.nodes()} == {"aten::linear"}


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_no_gradient_needs_is_not_kept(frozen: int) -> None:
    arguments = tensors((5, 9))
    arguments[frozen].requires_grad_(False)
    seen = [one.mul(1) for one in arguments]
    held = weakref.ref(seen[1 - frozen])
    value = aligned_linear(*seen, BOTH)
    del seen
    assert held() is None
    value.sum().backward()
    assert [one.grad is None for one in arguments] == [frozen == 0, frozen == 1, False]
