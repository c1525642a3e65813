"""Routines as Triton kernels, where Triton is installed."""

from __future__ import annotations

import importlib.util
import linecache
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from passes.evaluation.table import Table
from passes.kernels.routine import Routine
from passes.kernels.triton_source import kernel_text

_BLOCK = 1024


def is_available() -> bool:
    """Say whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


class TritonRoutine:
    """A routine as one Triton kernel, which reads every input and writes every result once.

    Args:
        routine: the code; the last of its coefficients may be tables.
    """

    def __init__(self, routine: Routine) -> None:
        self.routine = routine
        self._kernels: dict[int, Any] = {}

    def value(self, packed: Tensor, dim: int, coefficients: Sequence[Tensor], tables: Sequence[Table] = ()) -> Tensor:
        """Return the value, in the dtype and layout of a branch; float16 saturates."""
        branches = len(self.routine.inputs)
        dense, axis, restore = _dense(packed, dim)
        shape = list(dense.shape)
        shape[axis] //= branches
        result = dense.new_empty(shape)
        arguments = [dense, *coefficients, *_described(tables, packed), result]
        kernel = self._kernel(branches, len(tables))
        _run(kernel, arguments, result.numel(), _row(shape, axis), packed.dtype)
        return restore(result)

    def gradient(
        self,
        upstream: Tensor,
        packed: Tensor,
        dim: int,
        coefficients: Sequence[Tensor],
        tables: Sequence[Table] = (),
    ) -> tuple[Tensor, ...]:
        """Return the packed gradient of the variables, then the sum for each coefficient."""
        branches = len(self.routine.inputs) - 1
        dense, axis, restore = _dense(packed, dim)
        moved = (upstream if axis == dim % packed.dim() else upstream.movedim(dim, -1)).contiguous()
        gradient = torch.empty_like(dense)
        wide = _wide(packed.dtype)
        count = max(1, -(-moved.numel() // _BLOCK))
        sums = torch.zeros(count, len(self.routine.sums), dtype=wide, device=packed.device)
        arguments = [moved, dense, *coefficients, *_described(tables, packed), gradient]
        arguments += [sums] if self.routine.sums else []
        _run(self._kernel(branches, len(tables)), arguments, moved.numel(), _row(moved.shape, axis), packed.dtype)
        totals = sums.sum(0)
        return restore(gradient), *[totals[i].to(c.dtype) for i, c in enumerate(coefficients)]

    def _kernel(self, branches: int, tables: int) -> Any:
        if branches not in self._kernels:
            self._kernels[branches] = kernel_of(kernel_text(self.routine, branches, tables))
        return self._kernels[branches]


def _described(tables: Sequence[Table], packed: Tensor) -> list[Any]:
    return [part for table in tables for part in (table.rows(packed), table.cells, table.per_unit)]


def _run(kernel: Any, arguments: Sequence[Any], total: int, row: int, dtype: torch.dtype) -> None:
    if total == 0:
        return
    import triton.language as tl

    wide = tl.float64 if _wide(dtype) == torch.float64 else tl.float32
    grid = (-(-total // _BLOCK),)
    kernel[grid](total, row, *arguments, WIDE=wide, BLOCK=_BLOCK)


@lru_cache(maxsize=512)
def kernel_of(text: str) -> Any:
    """Make a kernel of its text, which Triton reads again where Python keeps the lines of files.

    Modules of the same function, each with routines of its own, share it.
    """
    import triton
    import triton.language as tl

    from passes.kernels.triton_lookup import lookup

    name = f"<kernel {hash(text):x}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    space: dict[str, Any] = {"tl": tl, "lookup": lookup, "__name__": __name__}
    exec(compile(text, name, "exec"), space)
    return triton.jit(space["kernel"])


def _dense(packed: Tensor, dim: int) -> tuple[Tensor, int, Callable[[Tensor], Tensor]]:
    """Return the tensor without gaps, its channels' dimension, and what moves that dimension back."""
    axis = dim % packed.dim()
    last = packed.movedim(axis, -1)
    if not packed.is_contiguous() and last.is_contiguous():
        return last, packed.dim() - 1, lambda value: value.movedim(-1, axis)
    return packed.contiguous(), axis, lambda value: value


def _row(shape: Sequence[int], axis: int) -> int:
    row = 1
    for size in shape[axis:]:
        row *= size
    return row


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
