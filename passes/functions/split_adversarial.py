"""The split adversarial function (SA) of any decomposition, derived by machine (NA paper; the method, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import sympy
import torch
from torch import Tensor, nn

from passes.evaluation import precision
from passes.evaluation.symbols import variables
from passes.functions.growth import overflows
from passes.functions.program import Program, compile_expression
from passes.functions.split_terms import FamilyTerm, ScaledTerm, split_term
from rewriter.errors import UsageError
from rewriter.names import require_known

COMBINATIONS = ("sum", "structure")


class SplitAdversarialFunction(nn.Module):
    """``A(x₁,…,xₙ)``: the terms ``Gᵢ(xᵢ)``, combined; make it with :func:`split_adversarial`.

    Elementwise, any floating dtype; float16 and bfloat16 are computed in float32. Every parameter is a trainable
    adversarial coefficient: those of the terms, and the integration constants, which start at 0 (the terms of a sum
    share one).

    Attributes:
        terms: the modules of ``G₁ … Gₙ``.
        structure: the decomposition's own F that combines them, or None for their sum.
        input_clamp: the bound on the inputs, where α = 0 needs one, else None.
        term_clamp: the bound on the ``Gᵢ`` that enter ``structure``, where it overflows, else None.
    """

    def __init__(
        self,
        terms: Sequence[FamilyTerm | ScaledTerm],
        structure: Program | None,
        input_clamp: float | None,
        term_clamp: float | None,
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self.structure, self.input_clamp, self.term_clamp = structure, input_clamp, term_clamp
        self.constants = nn.Parameter(torch.zeros(1 if structure is None else len(terms)))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return ``A(x1, …, xn)``, in the inputs' shape and dtype."""
        wide = [precision.widen(value) for value in inputs]
        return precision.narrow(self.value(wide, self.coefficients(wide[0].dtype)), inputs[0])

    def members(self) -> list[FamilyTerm | ScaledTerm]:
        """Return the terms."""
        return [term for term in self.terms if isinstance(term, FamilyTerm | ScaledTerm)]

    def coefficients(self, dtype: torch.dtype) -> list[Tensor]:
        """Return the coefficients of all terms, then the integration constants, as 0-dimensional tensors."""
        own = [coefficient for term in self.members() for coefficient in term.coefficients(dtype)]
        constants = self.constants.to(dtype)
        count = 1 if self.structure is None else len(self.terms)  # torch.fx cannot tell it from the constants
        return own + [constants[i] for i in range(count)]

    def value(self, inputs: list[Tensor], coefficients: list[Tensor]) -> Tensor:
        """Return A for given coefficients, for float32 or float64."""
        left = list(coefficients)
        held = [_clamp(value, self.input_clamp) for value in inputs]
        counts = [len(list(term.parameters())) for term in self.members()]
        own = [[left.pop(0) for _ in range(count)] for count in counts]
        parts = [term.value(value, given) for term, value, given in zip(self.members(), held, own, strict=True)]
        constants = left
        if self.structure is None:
            total: Tensor = parts[0] + constants[0]
            for part in parts[1:]:
                total = total + part
        else:
            total = self.structure(*[_clamp(p + constants[i], self.term_clamp) for i, p in enumerate(parts)])
        return total

    def extra_repr(self) -> str:
        """Tell how the terms are combined."""
        return f"combine={'sum' if self.structure is None else 'structure'}"


def split_adversarial(
    expression: sympy.Expr, terms: int, alpha: float = 1.0, combine: str = "sum", clamp: float = 4.0
) -> SplitAdversarialFunction:
    """Derive the split adversarial function of ``expression``, in ``x1 … xn``.

    Args:
        expression: the decomposition F.
        terms: n.
        alpha: the lift; 0 only where every term has a closed form.
        combine: ``"sum"`` for ``ΣGᵢ(xᵢ)``, ``"structure"`` for ``F(G₁(x₁), …, Gₙ(xₙ))``.
        clamp: the bound that keeps exponential growth finite: on the inputs if α = 0, on the Gᵢ in an F that overflows.

    Raises:
        UsageError: unknown ``combine``, a negative α, or α = 0 where a term has no closed form.
    """
    require_known(combine, COMBINATIONS, "combination")
    if alpha < 0:
        raise UsageError(expected="alpha >= 0", found=f"alpha = {alpha:g}", remedy="raise alpha")
    modules: list[FamilyTerm | ScaledTerm] = [split_term(expression, terms, i, alpha) for i in range(1, terms + 1)]
    structure = compile_expression(expression, variables(terms)) if combine == "structure" else None
    return SplitAdversarialFunction(
        modules,
        structure,
        input_clamp=clamp if alpha == 0 else None,
        term_clamp=clamp if structure is not None and overflows(structure, terms) else None,
    )


def _clamp(x: Tensor, bound: float | None) -> Tensor:
    return x if bound is None else x.clamp(-bound, bound)
