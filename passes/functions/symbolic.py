"""Adversarial functions that SymPy integrates, for users' expressions outside the known families."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import sympy
import torch
from torch import Tensor

from passes.functions.program import Program, compile_expression
from passes.functions.symbols import x
from passes.functions.table import Coefficients, Table
from rewriter.errors import UsageError

SECONDS = 5.0
_WORKER = Path(__file__).with_name("symbolic_worker.py")
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class SymbolicIntegral:
    """SymPy's antiderivative, shifted to be 0 at 0.

    Evaluated in float64 whatever the input, since a formula that nobody arranged may cancel near 0.
    """

    program: Program
    at_zero: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return g, elementwise, in the dtype of ``x``."""
        wide = x.double()
        value = self.program(wide) - self.at_zero
        return torch.where(wide == 0, wide, value).to(x.dtype)


@lru_cache(maxsize=64)
def antiderivative(integrand: sympy.Expr, seconds: float = SECONDS) -> sympy.Expr | None:
    """Return what SymPy makes of ``∫ integrand dx``, or None if it finds nothing real and closed in the time given."""
    plain = integrand.rewrite(sympy.exp) if integrand.has(sympy.Function) else integrand
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(_WORKER)],
            input=pickle.dumps((plain, x)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    found: sympy.Expr | None = pickle.loads(done.stdout)
    return found


def symbolic_integral(integrand: sympy.Expr, quadrature: Coefficients) -> SymbolicIntegral | None:
    """Return ``∫₀ˣ integrand`` by SymPy, or None if it finds none that agrees with the quadrature.

    Args:
        integrand: ``1/(f'+α)``, in ``x``.
        quadrature: its tabulated integral, that the formula must equal on [-32, 32] to a relative 1e-8.
    """
    found = antiderivative(integrand)
    if found is None:
        return None
    try:
        program = compile_expression(found, (x,))
    except UsageError:
        return None
    formula = SymbolicIntegral(program, float(program(torch.zeros(1, dtype=torch.float64, device="cpu"))))
    points = torch.linspace(-31.97, 31.93, 1003, dtype=torch.float64, device="cpu")
    exact = Table(quadrature).interpolate(points)
    far = torch.tensor([-1e4, -1e3, 1e3, 1e4], dtype=torch.float64, device="cpu")
    agrees = bool(((formula(points) - exact).abs() <= _TOLERANCE * exact.abs()).all())
    return formula if agrees and bool(formula(far).isfinite().all()) else None
