"""``rewrite-model list``: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from rewriter.cli.arguments import JsonOption
from rewriter.cli.output import console
from rewriter.cli.show import show_command
from rewriter.methods import get_method, method_names
from rewriter.names import require_known


class _Listings(TyperGroup):
    """The listings; a word that is none of them is answered with the nearest."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, require_known(cmd_name, self.commands, "list"))


listing = typer.Typer(cls=_Listings, help="List methods, functions or decompositions, or show one.")
listing.command("show")(show_command)


@listing.command("methods")
def methods_command(as_json: JsonOption = False) -> None:
    """List the methods of rewriting."""
    found = map(get_method, method_names())
    rows = [{"method": m.name, "what it does": m.summary, "options": ", ".join(m.config.model_fields)} for m in found]
    _print("methods", rows, as_json)


@listing.command("functions")
def functions_command(as_json: JsonOption = False) -> None:
    """List the activations f, each with its adversarial function g."""
    from passes.functions import activation_names
    from passes.pictures.function_facts import REACH, function_facts
    from passes.pictures.wording import in_words

    facts = [function_facts(name) for name in activation_names()]
    if as_json:
        print(json.dumps({"functions": [one.as_json() for one in facts]}, indent=1, ensure_ascii=False))
        return
    table = Table("function", "f(x)\ng(x)", f"f′ on\n[-{REACH}, {REACH}]", "least α", "kind", show_lines=True)
    table.columns[1].overflow = "fold"
    table.columns[2].no_wrap = True
    for one in facts:
        pair = f"f = {in_words(one.expression)}\ng = {one.adversarial_in_words}"
        table.add_row(one.name, pair, one.slopes_in_words, one.least_alpha_in_words, one.kind)
    console(as_json).print(table)
    console(as_json).print("f′ and g have the activation's parameters at their defaults; `list show NAME` tells more.")


@listing.command("decompositions")
def decompositions_command(as_json: JsonOption = False) -> None:
    """List the decompositions F of activations."""
    from passes.functions import decomposition, decomposition_names
    from passes.pictures.wording import in_words

    found = [decomposition(name) for name in decomposition_names()]
    write = str if as_json else in_words
    rows = [{"decomposition": d.name, "of": d.of, "F": write(d.expression), "note": d.note} for d in found]
    _print("decompositions", rows, as_json)


def _print(what: str, rows: Sequence[Mapping[str, str]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({what: rows}, indent=1, ensure_ascii=False))
        return
    table = Table()
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console(as_json).print(table)
