"""Elementwise functions whose gradient is a given formula, rather than what autograd makes of the function's own.

The backward pass keeps the input and nothing else, works for any derivative that autograd itself can derive again (so
for second and higher ones), under ``torch.func`` and under ``torch.compile``. Where a program is written down rather
than run (TorchScript tracing, ``torch.export``, ONNX, ``torch.fx``) the plain operations of the function appear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, fx
from torch.autograd.function import FunctionCtx

from passes.evaluation import precision
from passes.evaluation.blocks import blockwise

Elementwise = Callable[[Tensor], Tensor]


class Derivative(Protocol):
    """The derivative of an elementwise function, for float32 or float64."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the derivative, by operations that autograd knows."""

    def times(self, upstream: Tensor, x: Tensor) -> Tensor:
        """Return ``upstream`` times the derivative in a new tensor, by any operations."""


@dataclass(frozen=True)
class Formula:
    """A derivative that has no faster form."""

    function: Elementwise

    def __call__(self, x: Tensor) -> Tensor:
        """Return the derivative."""
        return self.function(x)

    def times(self, upstream: Tensor, x: Tensor) -> Tensor:
        """Return ``upstream`` times the derivative."""
        return upstream * self.function(x)


def with_derivative(x: Tensor, value: Elementwise, derivative: Derivative, *held: Tensor) -> Tensor:
    """Return ``value(x)``, differentiated by ``derivative``, in the shape and dtype of ``x``.

    Args:
        x: any floating dtype; float16 and bfloat16 are computed in float32.
        value: elementwise, for float32 or float64.
        derivative: the same.
        held: the tensors that both read besides. Where a transformation such as ``torch.func.vmap`` over an ensemble
            stands one of them for many, ``value`` is differentiated itself.
    """
    if is_written_down(x) or any(map(is_transformed, held)):
        return _plain(x, value)
    rule = _Compiled if torch.compiler.is_compiling() else _Eager
    result: Tensor = rule.apply(x, value, derivative)
    return result


def is_written_down(x: Tensor) -> bool:
    """Say whether the operations on ``x`` are recorded for a program, rather than only run."""
    tracing = bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
    return isinstance(x, fx.Proxy) or torch.compiler.is_exporting() or tracing


def is_transformed(x: Tensor) -> bool:
    """Say whether a transformation of ``torch.func`` is at work on a tensor."""
    # The compiler cannot follow the question; it follows the transformations themselves.
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(x)


def _plain(x: Tensor, value: Elementwise) -> Tensor:
    return precision.narrow(value(precision.widen(x)), x)


def _scaled(upstream: Tensor, x: Tensor, derivative: Derivative) -> Tensor:
    return precision.cast(upstream * derivative(precision.widen(x)), upstream)


class _Compiled(torch.autograd.Function):
    """The rule as ``torch.compile`` can trace it: the compiler fuses, so nothing is split into blocks."""

    @staticmethod
    def forward(x: Tensor, value: Elementwise, derivative: Derivative) -> Tensor:
        return _plain(x, value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, _, ctx.derivative = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return _scaled(upstream, x, ctx.derivative), None, None


class _Eager(torch.autograd.Function):
    """The rule in eager mode, with forward-mode differentiation and vmap."""

    @staticmethod
    def forward(x: Tensor, value: Elementwise, derivative: Derivative) -> Tensor:
        return blockwise(value, x, saturate=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, _, ctx.derivative = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _scaled(upstream, x, ctx.derivative), None, None
        return _Backward.apply(upstream, x, ctx.derivative), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        (x,) = ctx.saved_tensors
        return _scaled(tangent, x, ctx.derivative)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None, None], x: Tensor, value: Elementwise, derivative: Derivative
    ) -> tuple[Tensor, int]:
        return _Eager.apply(x, value, derivative), in_dims[0]


class _Backward(torch.autograd.Function):
    """``upstream·derivative(x)`` where no further derivative is asked for; a function, so that vmap can reach it."""

    @staticmethod
    def forward(upstream: Tensor, x: Tensor, derivative: Derivative) -> Tensor:
        return blockwise(derivative.times, upstream, x, saturate=False)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], upstream: Tensor, x: Tensor, derivative: Derivative
    ) -> tuple[Tensor, int]:
        pair = [
            value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            for value, dim in zip((upstream, x), in_dims, strict=False)
        ]
        return _Backward.apply(*pair, derivative), 0
