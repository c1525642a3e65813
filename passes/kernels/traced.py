"""Routines of a function of one tensor, from the torch operations that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sympy
from torch import fx, nn

from passes.evaluation.exact_gradient import Elementwise
from passes.evaluation.table import Table
from passes.kernels.expression import FLOAT16_LIMIT
from passes.kernels.lowering import Lowering
from passes.kernels.routine import Routine
from passes.kernels.torch_forms import Register, form_of, register

_X: Final = sympy.Symbol("x", real=True)
_UPSTREAM: Final = sympy.Symbol("upstream", real=True)


@dataclass(frozen=True)
class TracedFunction:
    """A function of one tensor with its own derivative; make it with `traced`.

    Attributes:
        value: elementwise.
        slope: its derivative.
        tables: those that either calls.
        variables: the symbol of the one input.
    """

    value: Elementwise
    slope: Elementwise
    tables: tuple[Table, ...] = ()
    variables: tuple[sympy.Symbol, ...] = (_X,)

    def forward(self) -> Routine:
        """Return the routine of the value; its input is the variable, its coefficients are the tables."""
        code, x, tables = self._start()
        return Routine(code, (x,), tuple(tables.values()), (_lowered(self.value, code, x, tables),))

    def backward(self, saturated: bool) -> Routine:
        """Return the routine of the gradient; its inputs are the upstream gradient, then the variable.

        The coefficients are the tables.

        Args:
            saturated: whether the value was held to float16's range, and the gradient is therefore 0 beyond.
        """
        code, x, tables = self._start()
        upstream = code.input(_UPSTREAM)
        above = upstream
        if saturated:
            above = code.step("within", upstream, _lowered(self.value, code, x, tables), code.number(FLOAT16_LIMIT))
        gradient = code.step("mul", above, _lowered(self.slope, code, x, tables))
        return Routine(code, (upstream, x), tuple(tables.values()), (gradient,))

    def _start(self) -> tuple[Lowering, int, Mapping[Table, int]]:
        code = Lowering()
        x = code.input(_X)
        return code, x, {table: code.input(sympy.Dummy("table"), uniform=True) for table in self.tables}


@lru_cache(maxsize=256)
def traced(value: Elementwise, slope: Elementwise, tables: tuple[Table, ...] = ()) -> TracedFunction | None:
    """Return what routines are made from, or None where a function runs what no step of a routine stands for."""
    function = TracedFunction(value, slope, tables)
    try:
        function.backward(saturated=True)
    except _UnknownOperation:
        return None
    return function


class _UnknownOperation(Exception):
    pass


class _Tracer(fx.Tracer):
    """Keeps the call of a table as one node."""

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(m, Table):
            return self.create_proxy("call_function", m, args, kwargs, name="table")
        return super().call_module(m, forward, args, kwargs)


def _lowered(function: Elementwise, code: Lowering, x: int, tables: Mapping[Table, int]) -> int:
    """Append what a function does with a register; return the register of its result."""
    graph = _Tracer().trace(lambda x: function(x))
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "output":
            break
        if node.op == "placeholder":
            values[node] = Register(x)
            continue
        arguments, keywords = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        if isinstance(node.target, Table):
            values[node] = Register(code.step("lookup", register(code, *arguments), tables[node.target]))
            continue
        form = form_of(node.target)
        if form is None:
            raise _UnknownOperation(node.target)
        values[node] = form(code, *arguments, **keywords)
    return register(code, values[node.args[0]])
