"""The oracle: expressions evaluated by mpmath at 30 digits."""

from collections.abc import Callable

import mpmath
import pytest
import sympy

from passes.evaluation.symbols import x

mpmath.mp.dps = 30
_OWN = {
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)),
    "softplus": lambda u: mpmath.log1p(mpmath.exp(u)),
}


@pytest.fixture(scope="session")
def exactly() -> Callable[..., Callable[..., mpmath.mpf]]:
    """Turn a SymPy expression into a function of mpmath numbers; its variables default to ``x``."""

    def compile_exactly(expression: sympy.Expr, variables: tuple[sympy.Symbol, ...] = (x,)):
        function = sympy.lambdify(variables, expression, modules=[_OWN, "mpmath"])
        return lambda *values: mpmath.mpf(function(*map(mpmath.mpf, values)))

    return compile_exactly
