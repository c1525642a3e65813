"""``--check``: a plan proves itself before anything is changed."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from torch import nn

from rewriter.counting import count_parameters
from rewriter.errors import UsageError, ValidationError
from rewriter.recipe import Recipe
from rewriter.validation.exact import check_exact

CheckOption = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check",
        help="carry the plan out with the old functions, widths and weights on a copy, and compare the outputs; "
        "default: where the inputs are known and there are fewer than 10⁹ parameters",
    ),
]
_MOST_PARAMETERS: Final = 10**9


def wants_check(asked: bool | None, model: nn.Module, inputs: Any) -> bool:
    """Say whether a plan is checked: as asked, else where that is possible and cheap.

    Raises:
        UsageError: it was asked for, and nobody knows what the model takes.
    """
    if asked and inputs is None:
        raise UsageError(
            expected="inputs to check on", found="a source that does not tell its own", remedy="give --input-shape"
        )
    small = count_parameters(model) < _MOST_PARAMETERS
    return asked if asked is not None else inputs is not None and small


def checked(asked: bool | None, model: nn.Module, recipe: Recipe, inputs: Any) -> str:
    """Check a plan and say in a few words what came of it.

    Raises:
        ValidationError: carried out exactly, the plan changes the outputs; or there was nothing to compare, and the
            check was asked for.
    """
    why = check_exact(model, recipe, inputs)
    if why is not None and asked:
        raise ValidationError(expected="outputs to compare", found=why, remedy="leave --check out")
    return f"exactness is not checked: {why}" if why is not None else "exact with the old functions, widths and weights"
