"""The text of a Triton kernel that runs a routine on a packed tensor."""

from __future__ import annotations

from passes.kernels.expression import FLOAT16_LIMIT
from passes.kernels.lowering import Step
from passes.kernels.operations import OPERATIONS
from passes.kernels.routine import Routine


def kernel_text(routine: Routine, branches: int, tables: int) -> str:
    """Write the kernel.

    An element of one branch is ``at``; of branch i of n in a packed tensor it is ``place + i·row``, where ``row`` is
    the size of a branch in a row of the packed tensor. The kernel takes the number of elements, ``row``, a pointer for
    each input that is not a branch (the upstream gradient), the packed tensor, a pointer for each coefficient, for each
    table its rows and what tells its grid, the target, and, for sums, a matrix with a row for each program.

    Args:
        routine: the code; its inputs are the branches, after an upstream gradient, if there is one.
        branches: n.
        tables: how many of the coefficients, the last ones, are tables.
    """
    has_upstream = len(routine.inputs) > branches
    arguments = ["total", "row", *(["upstream"] if has_upstream else []), "packed"]
    numbers = len(routine.coefficients) - tables
    arguments += [f"coefficient{i}" for i in range(numbers)]
    for register in routine.coefficients[numbers:]:
        arguments += [f"r{register}", f"r{register}_cells: tl.constexpr", f"r{register}_per_unit: tl.constexpr"]
    arguments += ["target", *(["sums"] if routine.sums else []), "WIDE: tl.constexpr", "BLOCK: tl.constexpr"]
    lines = [
        "at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
        "inside = at < total",
        f"place = at // row * (row * {branches}) + at % row",
    ]
    if has_upstream:
        lines.append(f"r{routine.inputs[0]} = tl.load(upstream + at, mask=inside, other=0).to(WIDE)")
    for i, register in enumerate(routine.inputs[-branches:]):
        lines.append(f"r{register} = tl.load(packed + (place + {i} * row), mask=inside, other=0).to(WIDE)")
    for i, register in enumerate(routine.coefficients[:numbers]):
        lines.append(f"r{register} = tl.load(coefficient{i}).to(WIDE)")
    lines += [_line(routine, register) for register in routine.needed() if _is_computed(routine, register)]
    for i, register in enumerate(routine.results):
        where = f"(place + {i} * row)" if has_upstream else "at"
        value = f"(r{register} + tl.zeros((BLOCK,), WIDE))"
        lines.append(f"value{i} = {value}")
        if not has_upstream:
            limit = FLOAT16_LIMIT
            saturated = f"tl.where(value{i} > {limit}, {limit}, tl.where(value{i} < -{limit}, -{limit}, value{i}))"
            lines += ["if target.dtype.element_ty == tl.float16:", f"    value{i} = {saturated}"]
        lines.append(f"tl.store(target + {where}, value{i}.to(target.dtype.element_ty), mask=inside)")
    for i, register in enumerate(routine.sums):
        total = f"tl.sum(tl.where(inside, r{register} + tl.zeros((BLOCK,), WIDE), 0.0))"
        lines.append(f"tl.store(sums + tl.program_id(0) * {len(routine.sums)} + {i}, {total})")
    body = "\n".join(f"    {line}" for line in lines)
    return f"def kernel({', '.join(arguments)}):\n{body}\n"


def _is_computed(routine: Routine, register: int) -> bool:
    return routine.code.steps[register] is not None


def _line(routine: Routine, register: int) -> str:
    step = routine.code.steps[register]
    if not isinstance(step, Step):
        return f"r{register} = tl.full((), {step!r}, WIDE)"  # a bare number would be float32
    return f"r{register} = " + OPERATIONS[step.operation].triton.format(*[f"r{operand}" for operand in step.operands])
