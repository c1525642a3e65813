"""What a fused evaluation is made from: an expression, its slopes, and the routines of both."""

from __future__ import annotations

from dataclasses import dataclass

import sympy
import torch

from passes.kernels.lowering import Lowering
from passes.kernels.routine import Routine

FLOAT16_LIMIT = float(torch.finfo(torch.float16).max)
_UPSTREAM = sympy.Symbol("upstream", real=True)


@dataclass(frozen=True)
class Expression:
    """A function of elementwise variables and of coefficients that are the same for all elements.

    Attributes:
        value: in the variables and coefficients.
        variables: the inputs' symbols.
        coefficients: the coefficients' symbols, then those of the tables.
        slopes: ``∂value/∂variable``, then ``∂value/∂coefficient``, but for the tables.
        bound: what the variables are clamped to before anything else, or None.
    """

    value: sympy.Expr
    variables: tuple[sympy.Symbol, ...]
    coefficients: tuple[sympy.Symbol, ...]
    slopes: tuple[sympy.Expr, ...]
    bound: float | None = None

    def forward(self) -> Routine:
        """Return the routine of the value; its inputs are the variables."""
        code, inputs, coefficients = self._start()
        return Routine(code, inputs, coefficients, tuple(code.lower_all([self.value])))

    def backward(self, saturated: bool) -> Routine:
        """Return the routine of the gradients; its inputs are the upstream gradient, then the variables.

        The results are the variables' gradients, the sums those of the coefficients.

        Args:
            saturated: whether the value was held to float16's range, and the gradient is therefore 0 beyond.
        """
        code, inputs, coefficients = self._start()
        upstream = code.input(_UPSTREAM)
        if saturated:
            (value,) = code.lower_all([self.value])
            code.bind(_UPSTREAM, code.step("within", upstream, value, code.number(FLOAT16_LIMIT)))
        count = len(self.variables)
        gradients = code.lower_all([_UPSTREAM * slope for slope in self.slopes])
        results = gradients[:count]
        if self.bound is not None:
            bound = code.number(self.bound)
            results = [code.step("within", g, x, bound) for g, x in zip(results, inputs, strict=True)]
        return Routine(code, (upstream, *inputs), coefficients, tuple(results), tuple(gradients[count:]))

    def _start(self) -> tuple[Lowering, tuple[int, ...], tuple[int, ...]]:
        code = Lowering()
        inputs = tuple(code.input(variable) for variable in self.variables)
        coefficients = tuple(code.input(coefficient, uniform=True) for coefficient in self.coefficients)
        if self.bound is not None:
            for variable, register in zip(self.variables, inputs, strict=True):
                code.bind(variable, code.step("clamp", register, code.number(self.bound)))
        return code, inputs, coefficients
