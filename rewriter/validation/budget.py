"""The parameter budget: asserted per chain of sites and in total, on the rewritten model itself."""

from __future__ import annotations

from collections import defaultdict

from torch import nn

from rewriter.counting import count_parameters
from rewriter.errors import ValidationError
from rewriter.recipe import Recipe


def check_budget(model: nn.Module, recipe: Recipe) -> None:
    """Assert that a rewritten model has the parameters its recipe promises.

    The total must be exactly what was planned. Where the width promises a budget, no chain of resized sites may have
    more parameters than before (the method, section 2, biases and coefficients counted).

    Raises:
        ValidationError: naming the first chain, or the total, that breaks the promise.
    """
    chains: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for site in recipe.sites:
        if site.hidden is not None:
            chains[site.chain][0] += site.parameters_before
            chains[site.chain][1] += site.parameters_after
    if recipe.holds_budget:
        for path, (before, after) in chains.items():
            if after > before:
                raise _broken(f"at most {before} parameters at {path}", after)
    found = count_parameters(model)
    if found != recipe.parameters_after:
        raise _broken(f"{recipe.parameters_after} parameters in the rewritten model", found)


def _broken(expected: str, found: int) -> ValidationError:
    return ValidationError(
        expected=expected, found=str(found), remedy="report this recipe: the plan and the surgery disagree"
    )
