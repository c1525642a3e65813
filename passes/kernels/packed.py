"""An expression's routines on packed tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from passes.evaluation.exact_gradient import is_transformed
from passes.evaluation.table import Table
from passes.kernels import c_routines, triton_routines
from passes.kernels.c_routines import CRoutine
from passes.kernels.expression import Expression
from passes.kernels.routine import BlockRoutine
from passes.kernels.traced import TracedFunction


@dataclass(frozen=True)
class PackedRoutines:
    """The value and the gradients of an expression whose variables are chunks of one tensor.

    Attributes:
        expression: what is evaluated.
        dim: the dimension of the chunks.
        tables: the tables that the expression looks values up in.
    """

    expression: Expression | TracedFunction
    dim: int
    tables: tuple[Table, ...] = ()

    def serves(self, packed: Tensor) -> bool:
        """Say whether there are routines for the device of a tensor, chunks of one size, and tables of plain values."""
        if any(is_transformed(table.coefficients) for table in self.tables):
            return False
        if packed.dim() > 0 and packed.size(self.dim) % len(self.expression.variables):
            return False
        if packed.device.type == "cpu":
            return True
        return packed.is_cuda and packed.dim() > 0 and triton_routines.is_available()

    def value(self, packed: Tensor, coefficients: Sequence[Tensor]) -> Tensor:
        """Return the value, in the dtype and layout of a chunk; float16 saturates."""
        if packed.is_cuda:
            return _triton_forward(self.expression).value(packed, self.dim, coefficients, self.tables)
        chunks = self._chunks(packed)
        result = torch.empty_like(chunks[0])
        numbers = [float(coefficient) for coefficient in coefficients]
        if _c_forward(self.expression)(packed, self.dim, numbers, self.tables, result) is None:
            _forward(self.expression)(chunks, [*numbers, *self.tables], [result], saturate=True)
        return result

    def gradient(self, upstream: Tensor, packed: Tensor, coefficients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return ``upstream`` times the slopes: packed for the variables, then summed for each coefficient."""
        saturated = packed.dtype == torch.float16
        if packed.is_cuda:
            kernel = _triton_backward(self.expression, saturated)
            return kernel.gradient(upstream, packed, self.dim, coefficients, self.tables)
        gradient = torch.empty_like(packed)
        numbers = [float(coefficient) for coefficient in coefficients]
        sums = _c_backward(self.expression, saturated)(packed, self.dim, numbers, self.tables, gradient, upstream)
        if sums is None:
            inputs = [upstream, *self._chunks(packed)]
            backward = _backward(self.expression, saturated)
            sums = backward(inputs, [*numbers, *self.tables], self._chunks(gradient), saturate=False)
        return gradient, *[torch.full_like(c, total) for c, total in zip(coefficients, sums, strict=True)]

    def _chunks(self, packed: Tensor) -> tuple[Tensor, ...]:
        count = len(self.expression.variables)
        return packed.chunk(count, self.dim) if count > 1 else (packed,)


def in_one_pass(packed: Tensor) -> bool:
    """Say whether routines for a tensor would be compiled, so that they go through memory once."""
    return (packed.is_cuda and triton_routines.is_available()) or c_routines.serves(packed)


@lru_cache(maxsize=256)
def _forward(expression: Expression | TracedFunction) -> BlockRoutine:
    return BlockRoutine(expression.forward())


@lru_cache(maxsize=256)
def _backward(expression: Expression | TracedFunction, saturated: bool) -> BlockRoutine:
    return BlockRoutine(expression.backward(saturated))


@lru_cache(maxsize=256)
def _c_forward(expression: Expression | TracedFunction) -> CRoutine:
    return CRoutine(expression.forward())


@lru_cache(maxsize=256)
def _c_backward(expression: Expression | TracedFunction, saturated: bool) -> CRoutine:
    return CRoutine(expression.backward(saturated))


@lru_cache(maxsize=256)
def _triton_forward(expression: Expression | TracedFunction) -> triton_routines.TritonRoutine:
    return triton_routines.TritonRoutine(expression.forward())


@lru_cache(maxsize=256)
def _triton_backward(expression: Expression | TracedFunction, saturated: bool) -> triton_routines.TritonRoutine:
    return triton_routines.TritonRoutine(expression.backward(saturated))
