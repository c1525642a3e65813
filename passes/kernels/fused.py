"""Fused evaluation as autograd sees it: the inputs alone are kept, and the backward pass is the expression's own.

The routines serve a plain tensor in eager mode, where no derivative of the derivative is asked for. Whatever else may
happen to a function (a higher derivative, forward-mode differentiation, ``torch.func``, a compiler, an exporter)
happens to its plain operations, so all of that gives the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from passes.evaluation.exact_gradient import is_written_down
from passes.kernels.packed import PackedRoutines

Plain = Callable[..., Tensor]


def fused(packed: Tensor, coefficients: Sequence[Tensor], routines: PackedRoutines, plain: Plain) -> Tensor:
    """Return the value of an expression on packed inputs that are fusible.

    Args:
        packed: the variables as contiguous chunks along the routines' dimension, any floating dtype; float16 and
            bfloat16 are computed in float32.
        coefficients: 0-dimensional tensors of one dtype, float32 or float64.
        routines: what to evaluate.
        plain: the same, of ``packed`` and the coefficients, by operations that autograd knows.

    Returns:
        a tensor like ``packed``, but of one chunk's size.
    """
    if not routines.serves(packed):
        return plain(packed, *coefficients)
    result: Tensor = _Fused.apply(packed, routines, plain, *coefficients)
    return result


def is_fusible(packed: Tensor) -> bool:
    """Say whether :func:`fused` serves a tensor: a plain one, on which operations are run rather than compiled."""
    if torch.compiler.is_compiling() or is_written_down(packed):
        return False
    return type(packed) in (Tensor, nn.Parameter)


class _Fused(torch.autograd.Function):
    """The value, by the routine."""

    @staticmethod
    def forward(packed: Tensor, routines: PackedRoutines, plain: Plain, *coefficients: Tensor) -> Tensor:
        return routines.value(packed, coefficients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        packed, ctx.routines, ctx.plain, *coefficients = inputs
        ctx.save_for_backward(packed, *coefficients)
        ctx.save_for_forward(packed, *coefficients)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        packed, *coefficients = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradients = _pulled_back(ctx.plain, upstream, packed, *coefficients)
        elif not torch._C._has_storage(upstream):  # one tensor stands for many: is_grads_batched
            gradients = _pulled_back_by_autograd(ctx.plain, upstream, packed, *coefficients)
        else:
            gradients = ctx.routines.gradient(upstream, packed, coefficients)
        return gradients[0], None, None, *gradients[1:]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        values = ctx.saved_tensors
        moving = [torch.zeros_like(v) if t is None else t for v, t in zip(values, _tensors(tangents), strict=True)]
        zero = torch.zeros_like(ctx.plain(*values))
        # The derivative of the pullback, which is linear in what it pulls back, is the push-forward.
        push = torch.func.vjp(lambda upstream: _pulled_back(ctx.plain, upstream, *values), zero)[1]
        (result,) = push(tuple(moving))
        pushed: Tensor = result
        return pushed

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
        plain = arguments[2]
        return torch.func.vmap(plain, _tensors(in_dims), randomness="error")(*_tensors(arguments)), 0


def _tensors(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave the routines and the plain function out of the arguments of :class:`_Fused`."""
    return arguments[0], *arguments[3:]


def _pulled_back_by_autograd(plain: Plain, upstream: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    leaves = [value.detach().requires_grad_() for value in values]
    with torch.enable_grad():
        result = plain(*leaves)
    return torch.autograd.grad(result, leaves, upstream)


def _pulled_back(plain: Plain, upstream: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    pull = torch.func.vjp(plain, *values)[1]
    gradients: tuple[Tensor, ...] = pull(upstream)
    return gradients
