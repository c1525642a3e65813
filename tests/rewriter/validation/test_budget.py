from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import rewriter
from rewriter.recipe import Recipe
from rewriter.validation import check_budget


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))


def doctored(recipe: Recipe, **fields: Any) -> Recipe:
    site = recipe.sites[0].model_copy(update=fields)
    return recipe.model_copy(update={"sites": (site,)})


def test_what_apply_makes_holds_the_budget() -> None:
    result = rewriter.rewrite(model(), "hdfgd")
    check_budget(result.model, result.recipe)


def test_a_model_with_other_parameters_than_planned_is_refused() -> None:
    result = rewriter.rewrite(model(), "hdfgd")
    result.model.append(nn.Linear(4, 1))
    with pytest.raises(rewriter.ValidationError, match=f"expected {result.recipe.parameters_after} parameters"):
        check_budget(result.model, result.recipe)


def test_a_chain_over_its_budget_is_refused_by_name() -> None:
    result = rewriter.rewrite(model(), "hdfgd")
    with pytest.raises(rewriter.ValidationError, match="parameters at 1"):
        check_budget(result.model, doctored(result.recipe, parameters_before=10))


@pytest.mark.parametrize("width", ["keep", 100])
def test_a_width_that_promises_no_budget_may_exceed_it(width: Any) -> None:
    result = rewriter.rewrite(model(), "hdfgd", width=width)
    assert result.report.totals.resized_after > result.report.totals.resized_before
