"""Straight-line code for several elementwise results, run in blocks that stay in a processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from passes.evaluation import precision
from passes.evaluation.blocks import blocks_of, keep_freed_memory
from passes.kernels.lowering import Lowering, Step
from passes.kernels.operations import OPERATIONS

_PER_THREAD = 2**17


@dataclass(frozen=True)
class Routine:
    """Elementwise code from tensors and coefficients to tensors and sums of tensors.

    Attributes:
        code: the steps.
        inputs: the registers of the input tensors.
        coefficients: the registers of the coefficients.
        results: the registers of the results.
        sums: the registers of values that are summed over all elements.
    """

    code: Lowering
    inputs: tuple[int, ...]
    coefficients: tuple[int, ...]
    results: tuple[int, ...]
    sums: tuple[int, ...] = ()

    def needed(self) -> list[int]:
        """Return the registers that the results and sums depend on, in order."""
        seen: set[int] = set()
        left = [*self.results, *self.sums]
        while left:
            register = left.pop()
            step = self.code.steps[register]
            if register not in seen and isinstance(step, Step):
                left += step.operands
            seen.add(register)
        return sorted(seen)


@dataclass(frozen=True)
class _Call:
    run: Callable[..., object]
    operands: tuple[int, ...]
    target: int


class BlockRoutine:
    """A routine as torch operations in place, on buffers of one block that are used again and again.

    Args:
        routine: the code.
    """

    def __init__(self, routine: Routine) -> None:
        self.routine = routine
        steps, uniform = routine.code.steps, routine.code.uniform
        needed = routine.needed()
        self._numbers = {register: step for register in needed if isinstance(step := steps[register], float)}
        own = [(register, step) for register in needed if isinstance(step := steps[register], Step)]
        self._uniform = [(register, step) for register, step in own if uniform[register]]
        calls = [(register, step) for register, step in own if not uniform[register]]
        self._buffer_of, self._buffers = _assigned(calls, routine)
        self._calls = [_Call(OPERATIONS[step.operation].torch, step.operands, register) for register, step in calls]

    def __call__(
        self, inputs: Sequence[Tensor], coefficients: Sequence[object], targets: Sequence[Tensor], saturate: bool
    ) -> list[float]:
        """Write the results into ``targets`` and return the sums.

        Args:
            inputs: of one shape, any floating dtypes and strides; float16 and bfloat16 are computed in float32.
            coefficients: their values; tables are what they are.
            targets: of the inputs' shape; none shares memory with an input.
            saturate: whether float16 results are held to float16's range, rather than become infinite.
        """
        values = self._uniform_values(coefficients)
        totals = [0.0] * len(self.routine.sums)
        keep_freed_memory()
        buffers: list[Tensor] = []
        finish = precision.narrow if saturate else precision.cast
        for parts in blocks_of((*inputs, *targets), _PER_THREAD):
            wide = [precision.widen(part) for part in parts[: len(inputs)]]
            if not buffers or buffers[0].shape != wide[0].shape:
                buffers = [torch.empty_like(wide[0], dtype=kind or wide[0].dtype) for kind in self._buffers]
            self._run(values, wide, parts[len(inputs) :], buffers, finish)
            for i, register in enumerate(self.routine.sums):
                totals[i] += float(values[register].sum())
        return totals

    def _uniform_values(self, coefficients: Sequence[object]) -> list[Any]:
        values: list[Any] = [None] * len(self.routine.code.steps)
        for register, coefficient in zip(self.routine.coefficients, coefficients, strict=True):
            values[register] = coefficient
        for register, number in self._numbers.items():
            values[register] = number
        for register, step in self._uniform:
            function = OPERATIONS[step.operation].number
            assert function is not None
            values[register] = function(*[values[operand] for operand in step.operands])
        return values

    def _run(
        self,
        values: list[Any],
        wide: Sequence[Tensor],
        targets: Sequence[Tensor],
        buffers: Sequence[Tensor],
        finish: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        for register, value in zip(self.routine.inputs, wide, strict=True):
            values[register] = value
        for register, buffer in self._buffer_of.items():
            values[register] = buffers[buffer]
        direct = {}
        for register, target in zip(self.routine.results, targets, strict=True):
            if register in self._buffer_of and register not in direct and target.dtype == wide[0].dtype:
                values[register] = direct[register] = target
        for call in self._calls:
            call.run(*[values[operand] for operand in call.operands], values[call.target])
        for register, target in zip(self.routine.results, targets, strict=True):
            value = values[register]
            if value is not target:
                target.copy_(finish(value, target)) if isinstance(value, Tensor) else target.fill_(value)


def _assigned(calls: Sequence[tuple[int, Step]], routine: Routine) -> tuple[dict[int, int], list[torch.dtype | None]]:
    """Give every computed register a buffer, one that is no longer read where there is one, and list their dtypes."""
    last_read = {operand: i for i, (_, step) in enumerate(calls) for operand in step.operands}
    for register in (*routine.results, *routine.sums):
        last_read[register] = len(calls)
    buffer_of: dict[int, int] = {}
    kinds: list[torch.dtype | None] = []
    free: list[int] = []
    for i, (register, step) in enumerate(calls):
        kind = torch.bool if OPERATIONS[step.operation].is_condition else None
        # An operation may write into its own operand.
        free += [buffer_of[o] for o in set(step.operands) if o in buffer_of and last_read[o] == i]
        found = next((buffer for buffer in reversed(free) if kinds[buffer] == kind), None)
        if found is None:
            kinds.append(kind)
            found = len(kinds) - 1
        else:
            free.remove(found)
        buffer_of[register] = found
    return buffer_of, kinds
