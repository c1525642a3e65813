"""A linear map whose results have rows that begin at a cache line.

The widths that a rewrite chooses are seldom multiples of anything. Where a row of a product's result begins in the
middle of a line, so does each of its vectors, and the product takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from passes.evaluation.exact_gradient import is_written_down

_LINE = 64  # bytes


@dataclass(frozen=True)
class Inner:
    """The sides of a linear that only other parts of the rewrite see, so that their rows may be further apart.

    Attributes:
        input: whether the input is one; then so is its gradient, which is a result of the backward pass.
        output: whether the output is one.
    """

    input: bool = False
    output: bool = False

    def without_aligned(self, weight: Tensor) -> Inner:
        """Return the sides that need room between their rows."""
        fan_out, fan_in = weight.shape
        return Inner(
            self.input and _aligned(fan_in, weight) != fan_in, self.output and _aligned(fan_out, weight) != fan_out
        )


def aligned_linear(input: Tensor, weight: Tensor, bias: Tensor | None, inner: Inner) -> Tensor:
    """Return ``F.linear(input, weight, bias)``, whose rows may lie further apart than they are long.

    Args:
        input: ``[…, in]``.
        weight: ``[out, in]``.
        bias: ``[out]``, or None.
        inner: the sides that have room between their rows: the output, and the gradient of the input. Float32 and
            float64 on a CPU have it; anything else, and what an exporter records, is plain.
    """
    if is_written_down(input) or input.device.type != "cpu":
        return F.linear(input, weight, bias)
    inner = inner.without_aligned(weight)
    plain = all(_is_plain(one) for one in (input, weight, bias) if one is not None)
    if inner == Inner() or torch.is_autocast_enabled("cpu") or not plain:
        return F.linear(input, weight, bias)
    rule = _Compiled if torch.compiler.is_compiling() else _Eager
    result: Tensor = rule.apply(input, weight, bias, inner)
    return result


def _aligned(width: int, like: Tensor) -> int:
    step = _LINE // like.element_size()
    return -(-width // step) * step


def _is_plain(value: Tensor) -> bool:
    return type(value) in (Tensor, nn.Parameter) and value.dtype in (torch.float32, torch.float64)


def _memory(like: Tensor, width: int, apart: bool) -> Tensor:
    """Return a tensor of the shape of ``like``, but for the last size."""
    strides = [1]
    step = _aligned(width, like) if apart else width
    for size in reversed(like.shape[:-1]):
        strides.insert(0, step)
        step *= size
    return like.new_empty_strided((*like.shape[:-1], width), strides)


class _Compiled(torch.autograd.Function):
    """The map as a compiler can trace it: zeros around the weight align what is multiplied by it."""

    @staticmethod
    def forward(input: Tensor, weight: Tensor, bias: Tensor | None, inner: Inner) -> Tensor:
        fan_out = weight.shape[0]
        below = _aligned(fan_out, weight) - fan_out if inner.output else 0
        longer = None if bias is None else F.pad(bias, (0, below))
        return F.linear(input, F.pad(weight, (0, 0, 0, below)), longer)[..., :fan_out]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        input, weight, _, ctx.inner = inputs
        ctx.save_for_backward(input, weight)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        by_input, by_weight, by_bias, _ = ctx.needs_input_grad
        fan_out, fan_in = weight.shape
        right = _aligned(fan_in, weight) - fan_in if ctx.inner.input else 0
        above = upstream.reshape(-1, fan_out)
        return (
            (upstream @ F.pad(weight, (0, right)))[..., :fan_in] if by_input else None,
            above.t() @ input.reshape(-1, fan_in) if by_weight else None,
            above.sum(0) if by_bias else None,
            None,
        )


class _Eager(torch.autograd.Function):
    """The map in eager mode: results are written where their rows are aligned."""

    @staticmethod
    def forward(input: Tensor, weight: Tensor, bias: Tensor | None, inner: Inner) -> Tensor:
        fan_out, fan_in = weight.shape
        result = _memory(input, fan_out, inner.output)
        rows, out = input.reshape(-1, fan_in), result.view(-1, fan_out)
        if bias is None:
            torch.mm(rows, weight.t(), out=out)
        else:
            torch.addmm(bias, rows, weight.t(), out=out)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        input, weight, _, ctx.inner = inputs
        by_input, by_weight, *_ = ctx.needs_input_grad
        ctx.shape = input.shape
        # A frozen weight has no gradient that the input would be kept for, as in torch's own linear.
        ctx.save_for_backward(input if by_weight else None, weight if by_input else None)
        ctx.save_for_forward(input, weight)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        by_input, by_weight, by_bias, _ = ctx.needs_input_grad
        above = upstream.reshape(-1, upstream.shape[-1])
        return (
            _times(above, weight, ctx.inner.input).view(ctx.shape) if by_input else None,
            above.t() @ input.reshape(-1, ctx.shape[-1]) if by_weight else None,
            above.sum(0) if by_bias else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        input, weight = ctx.saved_tensors
        by_input, by_weight, by_bias, _ = tangents
        zero = torch.zeros_like(input) if by_input is None else by_input
        moved = F.linear(zero, weight, by_bias)
        return moved if by_weight is None else moved + F.linear(input, by_weight)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
        return torch.func.vmap(F.linear, in_dims[:3], randomness="error")(*arguments[:3]), 0


def _times(above: Tensor, weight: Tensor, apart: bool) -> Tensor:
    """Multiply by the weight; where a derivative of the product, or many at once, may be asked for, plainly."""
    if torch.is_grad_enabled() or not torch._C._has_storage(above):
        return above @ weight
    return torch.mm(above, weight, out=_memory(above, weight.shape[1], apart))
