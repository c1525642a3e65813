"""Routines as compiled C, which reads every input and writes every result once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from passes.evaluation.table import Table
from passes.kernels.c_library import compiled, is_available
from passes.kernels.c_source import DTYPES, PIECE, function_text
from passes.kernels.routine import Routine
from passes.kernels.rows import Rows, rows_of

# On less, torch's operations take about as long, and no compiler is called for.
_LEAST: Final = 2**15


def serves(packed: Tensor) -> bool:
    """Say whether there is a compiler, and work for one; the layout is another question."""
    return packed.device.type == "cpu" and packed.numel() >= _LEAST and packed.dtype in DTYPES and is_available()


class CRoutine:
    """A routine as a C function, compiled when a tensor first asks for it.

    Args:
        routine: the code; the last of its coefficients may be tables.
    """

    def __init__(self, routine: Routine) -> None:
        self.routine = routine
        self._texts: dict[tuple[torch.dtype, int, int], tuple[str, tuple[Any, ...]]] = {}

    def __call__(
        self,
        packed: Tensor,
        dim: int,
        coefficients: Sequence[float],
        tables: Sequence[Table],
        target: Tensor,
        upstream: Tensor | None = None,
    ) -> list[float] | None:
        """Write the results into ``target`` and return the sums; where C does not serve, do nothing and return None.

        Args:
            packed: the branches, chunks along ``dim``.
            dim: the dimension of the branches.
            coefficients: their values, but for the tables.
            tables: the tables.
            target: for the results, chunks along ``dim`` as well; it shares no memory with the others.
            upstream: a routine's first input, if it has one beside the branches; of a branch's shape.
        """
        if not serves(packed):
            return None
        branches = len(self.routine.inputs) - (upstream is not None)
        order = sorted(range(packed.dim()), key=packed.stride, reverse=True)
        dim = order.index(dim % packed.dim()) if branches > 1 else 0
        packed, target = packed.permute(order), target.permute(order)
        read, written = rows_of(packed, dim), rows_of(target, dim)
        if read is None or written is None:
            return None
        function = self._function(packed.dtype, branches, len(tables))
        if function is None:
            return None
        row = read.length // branches
        arguments = [read.count, row, packed.data_ptr(), read.step]
        if upstream is not None:
            upstream, above = _in_rows(upstream.permute(order), dim)
            arguments += [upstream.data_ptr(), above.step]
        real = ctypes.c_double if packed.dtype == torch.float64 else ctypes.c_float
        numbers = (real * max(1, len(coefficients)))(*coefficients)
        arguments += [target.data_ptr(), written.step, ctypes.addressof(numbers)]
        grids = [table.rows(packed) for table in tables]
        for grid, table in zip(grids, tables, strict=True):
            arguments += [grid.data_ptr(), table.cells, table.per_unit]
        sums = torch.empty(read.count * -(-row // PIECE), len(self.routine.sums), dtype=torch.float64)
        arguments += [sums.data_ptr()] if self.routine.sums else []
        function(*arguments, torch.get_num_threads())
        totals: list[float] = sums.sum(0).tolist()
        return totals

    def _function(self, dtype: torch.dtype, branches: int, tables: int) -> Callable[..., None] | None:
        key = (dtype, branches, tables)
        if key not in self._texts:
            self._texts[key] = function_text(self.routine, branches, tables, dtype), self._types(branches, tables)
        return compiled(*self._texts[key])

    def _types(self, branches: int, tables: int) -> tuple[Any, ...]:
        integer, pointer = ctypes.c_int64, ctypes.c_void_p
        above = [pointer, integer] if len(self.routine.inputs) > branches else []
        grids = [pointer, integer, integer] * tables
        sums = [pointer] if self.routine.sums else []
        start = (integer, integer, pointer, integer, *above, pointer, integer, pointer)
        return (*start, *grids, *sums, ctypes.c_int)


def _in_rows(value: Tensor, dim: int) -> tuple[Tensor, Rows]:
    """Return a tensor, or a copy of it, whose rows lie as those of a dense one."""
    found = rows_of(value, dim)
    if found is None:
        value = value.resolve_neg().contiguous()
        found = rows_of(value, dim)
        assert found is not None
    return value, found
