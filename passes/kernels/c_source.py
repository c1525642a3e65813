"""The text of a C function that runs a routine on a packed tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import torch

from passes.kernels.c_forms import C_FORMS, FUNCTIONS
from passes.kernels.expression import FLOAT16_LIMIT
from passes.kernels.lowering import Step
from passes.kernels.operations import OPERATIONS
from passes.kernels.routine import Routine

PIECE: Final = 4096
"""The most elements of one row that are summed, and given to a thread, together."""

# The type that is computed in, the end of its functions' names, the type in memory, and how one becomes the other.
_TYPES: Final[Mapping[torch.dtype, tuple[str, str, str, str, str]]] = {
    torch.float64: ("double", "", "double", "x", "x"),
    torch.float32: ("float", "f", "float", "x", "x"),
    torch.float16: ("float", "f", "_Float16", "(float)x", "(_Float16)x"),
    torch.bfloat16: (
        *("float", "f", "uint16_t"),
        "((union { uint32_t bits; float value; }){(uint32_t)x << 16}).value",
        "x != x ? 0x7fc0 : bits(x) + 0x7fff + (bits(x) >> 16 & 1) >> 16",  # to nearest, ties to even
    ),
}
DTYPES: Final = frozenset(_TYPES)

# The functions are the C library's, and there are some of whole vectors.
_FUNCTIONS: Final = "".join(
    f"#pragma omp declare simd notinbranch\nextern real F({name})({'real, real' if name == 'pow' else 'real'});\n"
    for name in (*FUNCTIONS, "pow")
)
_LOOKUP: Final = """
static inline real lookup(real x, const real *rows, int64_t cells, int64_t per_unit) {
    const real position = F(fabs)(x) * per_unit;
    const int32_t cell = (int32_t)(position < cells ? position : cells);
    const real inside = position - cell;
    const real *at = rows + (cell + (x < 0 ? cells + 1 : 0));
    const int64_t power = 2 * (cells + 1);
    return at[0] + inside * (at[power] + inside * (at[2 * power] + inside * at[3 * power]));
}
"""


def function_text(routine: Routine, branches: int, tables: int, dtype: torch.dtype) -> str:
    """Write the function ``run``.

    It takes the number of rows; the elements of a branch in a row; the packed tensor and its step from row to row, then
    the upstream gradient likewise, if there is one; the target likewise; the coefficients; for each table its rows and
    what tells its grid; for sums, a matrix of doubles with a row for every piece; and the number of threads.

    Args:
        routine: the code; its inputs are the branches, after an upstream gradient, if there is one.
        branches: how many there are.
        tables: how many of the coefficients, the last ones, are tables.
        dtype: of the packed tensor; one of `DTYPES`.
    """
    numbers = len(routine.coefficients) - tables
    has_upstream = len(routine.inputs) > branches
    pointers = ["packed", *(["upstream"] if has_upstream else [])]
    arguments = [
        "int64_t rows, int64_t row",
        *(f"const stored *{pointer}, int64_t {pointer}_step" for pointer in pointers),
        "stored *target, int64_t target_step, const real *coefficients",
        *(
            f"const real *r{grid}, int64_t r{grid}_cells, int64_t r{grid}_per_unit"
            for grid in routine.coefficients[numbers:]
        ),
        *(["double *sums"] if routine.sums else []),
        "int threads",
    ]
    saturates = dtype == torch.float16 and not has_upstream
    uniform = [
        *(f"const real r{r} = coefficients[{i}];" for i, r in enumerate(routine.coefficients[:numbers])),
        *_lines(routine, uniform=True),
    ]
    body = "\n".join([*uniform, *_pieces(routine, branches)])
    return f"{_opening(dtype, saturates)}void run({', '.join(arguments)}) {{\n{body}\n}}\n"


def _opening(dtype: torch.dtype, saturates: bool) -> str:
    real, end, stored, load, store = _TYPES[dtype]
    limit = f"(real){FLOAT16_LIMIT}"
    held = f"x = x > {limit} ? {limit} : x < -{limit} ? -{limit} : x; " if saturates else ""
    return f"""#include <stdint.h>
typedef {real} real;
typedef {stored} stored;
#define F(name) name{f"##{end}" if end else ""}
static inline uint32_t bits(float x) {{ return ((union {{ float value; uint32_t bits; }}){{x}}).bits; }}
static inline real load(stored x) {{ return {load}; }}
static inline stored store(real x) {{ {held}return {store}; }}
{_FUNCTIONS}{_LOOKUP}"""


def _pieces(routine: Routine, branches: int) -> Iterator[str]:
    """Write the loop over the pieces of rows, and in it the one over elements."""
    count = len(routine.sums)
    yield f"const int64_t cuts = (row + {PIECE - 1}) / {PIECE}, pieces = rows * cuts;"
    yield "#pragma omp parallel for schedule(static) num_threads(threads)"
    yield "for (int64_t piece = 0; piece < pieces; piece++) {"
    yield f"const int64_t line = piece / cuts, start = piece % cuts * {PIECE};"
    yield f"const int64_t length = row - start < {PIECE} ? row - start : {PIECE};"
    first = len(routine.inputs) - branches
    for i, register in enumerate(routine.inputs):
        where = "upstream + line * upstream_step" if i < first else f"packed + line * packed_step + {i - first} * row"
        yield f"const stored *restrict x{register} = {where} + start;"
    for i in range(len(routine.results)):
        yield f"stored *restrict y{i} = target + line * target_step + {i} * row + start;"
    for i in range(count):
        yield f"real total{i} = 0;"
    yield f"#pragma omp simd{''.join(f' reduction(+:total{i})' for i in range(count))}"
    yield "for (int64_t i = 0; i < length; i++) {"
    for register in routine.inputs:
        yield f"const real r{register} = load(x{register}[i]);"
    yield from _lines(routine, uniform=False)
    for i, register in enumerate(routine.results):
        yield f"y{i}[i] = store(r{register});"
    for i, register in enumerate(routine.sums):
        yield f"total{i} += r{register};"
    yield "}"
    for i in range(count):
        yield f"sums[piece * {count} + {i}] = total{i};"
    yield "}"


def _lines(routine: Routine, uniform: bool) -> Iterator[str]:
    """Write the steps that are the same for all elements, or the others."""
    for register in routine.needed():
        step = routine.code.steps[register]
        if step is None or routine.code.uniform[register] != uniform:
            continue
        if isinstance(step, Step):
            kind = "int" if OPERATIONS[step.operation].is_condition else "real"
            value = C_FORMS[step.operation].format(*[f"r{operand}" for operand in step.operands])
            yield f"const {kind} r{register} = {value};"
        else:
            yield f"const real r{register} = (real){step.hex()};"
