"""A process of its own that integrates one expression with SymPy, so that a search without end can be stopped.

Run as a script: reads the pickled pair (integrand, variable) from standard input, made by the process that starts it,
and writes the pickled antiderivative, or None where SymPy finds none, to standard output.
"""

from __future__ import annotations

import pickle
import sys

import sympy


def integrate(integrand: sympy.Expr, variable: sympy.Symbol) -> sympy.Expr | None:
    """Return an antiderivative without unevaluated parts or complex numbers, or None."""
    found = sympy.integrate(integrand, variable)
    if found.has(sympy.Integral, sympy.RootSum, sympy.Piecewise, sympy.I):
        return None
    return found


if __name__ == "__main__":
    pickle.dump(integrate(*pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
