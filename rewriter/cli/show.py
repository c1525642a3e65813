"""``rewrite-model list show``: one function or decomposition in words, and its picture."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rewriter.cli.arguments import JsonOption
from rewriter.cli.output import console
from rewriter.errors import UsageError
from rewriter.names import require_known

if TYPE_CHECKING:
    from passes.functions import Decomposition
    from passes.pictures.function_facts import FunctionFacts
    from passes.pictures.split_facts import SplitFacts

_NAME = re.compile(r"[A-Za-z_]\w*(/\d+)?")


def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a function, a decomposition, or an expression of one")],
    alpha: Annotated[float, typer.Option(help="the lift α of the adversarial function")] = 1.0,
    activation: Annotated[
        str | None, typer.Option(help="what an expression in x1, x2 … decomposes: a function, or an expression in x")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="draw it, as .png, .svg or .pdf")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a function or a decomposition, and what is adversarial to it."""
    from passes.pictures.figures import function_figure, split_figure
    from passes.pictures.function_facts import function_facts
    from passes.pictures.picture_file import save_picture
    from passes.pictures.split_facts import split_facts

    found = _decomposition(name, activation)
    facts: FunctionFacts | SplitFacts = function_facts(name, alpha) if found is None else split_facts(found, alpha)
    if plot is not None:
        save_picture(function_figure(name, alpha) if found is None else split_figure(found, alpha), plot)
    if as_json:
        print(json.dumps(facts.as_json(), indent=1, ensure_ascii=False))
    else:
        console(as_json).print(_grid(facts.in_words()))
    if plot is not None:
        console(as_json).print(f"picture: {plot}", soft_wrap=True)


def _decomposition(name: str, activation: str | None) -> Decomposition | None:
    """Return the decomposition that is meant, or None for a function.

    Raises:
        UsageError: an unknown name, or an ``activation`` beside a function.
    """
    from passes.functions import activation_names, decomposition, decomposition_names
    from passes.functions.library import is_expression

    names = decomposition_names()
    if _NAME.fullmatch(name) and name.partition("/")[0] != "x" and not is_expression(name):
        require_known(name, (*activation_names(), *names), "function or decomposition")
    if name in names or is_expression(name):
        return decomposition(name, activation)
    if activation is not None:
        raise UsageError(
            expected="--activation beside a decomposition only",
            found=f"the function {name!r}",
            remedy="leave --activation out, or write an expression in x1, x2 and so on",
        )
    return None


def _grid(lines: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table
