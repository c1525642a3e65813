"""SymPy functions of the expressions that routines are made from, besides those of activations."""

from __future__ import annotations

import sympy


class ramp(sympy.Function):  # type: ignore[misc]
    """``max(0, u)``, whose slope at 0 is 0."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Return ``positive(u)``."""
        return positive(self.args[0])

    def _eval_is_real(self) -> bool | None:
        real: bool | None = self.args[0].is_real
        return real


class positive(sympy.Function):  # type: ignore[misc]
    """1 where ``u > 0``, else 0."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Return 0."""
        return sympy.S.Zero


class held(sympy.Function):  # type: ignore[misc]
    """``u`` held to ``[-bound, bound]``: ``held(u, bound)``."""

    is_real = True


class inside(sympy.Function):  # type: ignore[misc]
    """1 where ``|u| < bound``, else 0: ``inside(u, bound)``, the slope of ``held``."""

    is_real = True


class tabulated(sympy.Function):  # type: ignore[misc]
    """The function of a table, at ``u``: ``tabulated(u, table)``."""

    is_real = True
