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

from passes.evaluation.symbols import sigmoid, softplus, x
from passes.evaluation.table import Coefficients, Table
from passes.functions.program import Program, compile_expression
from rewriter.errors import UsageError

SECONDS = 5.0
_WORKER = Path(__file__).with_name("symbolic_worker.py")
_TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-6}


@dataclass(frozen=True)
class SymbolicIntegral:
    """SymPy's antiderivative, shifted to be 0 at 0."""

    program: Program
    at_zero: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return g, elementwise, for float32 or float64."""
        return torch.where(x == 0, x, self.program(x) - self.at_zero)


@lru_cache(maxsize=64)
def antiderivative(integrand: sympy.Expr, seconds: float = SECONDS) -> sympy.Expr | None:
    """Return what SymPy makes of ``∫ integrand dx``, or None if it finds nothing real and closed in the time given."""
    plain = integrand.rewrite([sigmoid, softplus], sympy.exp)
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

    A formula that nobody arranged may jump, overflow, or cancel near 0, so it must equal the quadrature on [-32, 32] to
    a relative 1e-8 in float64 and 1e-6 in float32.

    Args:
        integrand: ``1/(f'+α)``, in ``x``.
        quadrature: its tabulated integral.
    """
    found = antiderivative(integrand)
    if found is None:
        return None
    try:
        program = compile_expression(found, (x,))
    except UsageError:
        return None
    formula = SymbolicIntegral(program, float(program(torch.zeros(1, dtype=torch.float64, device="cpu"))))
    near, far = torch.logspace(-6, 1.5, 701, dtype=torch.float64, device="cpu"), torch.tensor([1e3, 1e4], device="cpu")
    points = torch.cat([-near, near]).float()
    exact = Table(quadrature).interpolate(points.double())
    agrees = all(
        bool(((formula(points.to(dtype)) - exact).abs() <= tolerance * exact.abs()).all())
        for dtype, tolerance in _TOLERANCES.items()
    )
    return formula if agrees and bool(formula(torch.cat([-far, far])).isfinite().all()) else None
