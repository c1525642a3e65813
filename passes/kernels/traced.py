"""Routines of a function of one tensor, from the torch operations that it runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sympy
from torch import fx

from passes.evaluation.exact_gradient import Elementwise
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
        variables: the symbol of the one input.
    """

    value: Elementwise
    slope: Elementwise
    variables: tuple[sympy.Symbol, ...] = (_X,)

    def forward(self) -> Routine:
        """Return the routine of the value; its input is the variable."""
        code = Lowering()
        x = code.input(_X)
        return Routine(code, (x,), (), (_lowered(self.value, code, x),))

    def backward(self, saturated: bool) -> Routine:
        """Return the routine of the gradient; its inputs are the upstream gradient, then the variable.

        Args:
            saturated: whether the value was held to float16's range, and the gradient is therefore 0 beyond.
        """
        code = Lowering()
        x, upstream = code.input(_X), code.input(_UPSTREAM)
        above = upstream
        if saturated:
            above = code.step("within", upstream, _lowered(self.value, code, x), code.number(FLOAT16_LIMIT))
        return Routine(code, (upstream, x), (), (code.step("mul", above, _lowered(self.slope, code, x)),))


@lru_cache(maxsize=256)
def traced(value: Elementwise, slope: Elementwise) -> TracedFunction | None:
    """Return what routines are made from, or None where a function runs what no step of a routine stands for."""
    function = TracedFunction(value, slope)
    try:
        function.backward(saturated=True)
    except _UnknownOperation:
        return None
    return function


class _UnknownOperation(Exception):
    pass


def _lowered(function: Elementwise, code: Lowering, x: int) -> int:
    """Append what a function does with a register; return the register of its result."""
    graph = fx.Tracer().trace(lambda x: function(x))
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "output":
            break
        if node.op == "placeholder":
            values[node] = Register(x)
            continue
        form = form_of(node.target)
        if form is None:
            raise _UnknownOperation(node.target)
        arguments, keywords = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        values[node] = form(code, *arguments, **keywords)
    return register(code, values[node.args[0]])
