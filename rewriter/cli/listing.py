"""``rewrite-model list``: what there is to choose from."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from rewriter.cli.arguments import JsonOption
from rewriter.cli.output import console
from rewriter.methods import get_method, method_names
from rewriter.names import require_known

Rows = list[dict[str, str]]


def list_command(
    what: Annotated[str, typer.Argument(metavar="methods|functions|decompositions", help="what to list")],
    as_json: JsonOption = False,
) -> None:
    """List methods, functions or decompositions."""
    listings = {"methods": _methods, "functions": _functions, "decompositions": _decompositions}
    rows = listings[require_known(what, listings, "list")]()
    if as_json:
        print(json.dumps({what: rows}, indent=1, ensure_ascii=False))
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    console(as_json).print(table)


def _methods() -> Rows:
    methods = map(get_method, method_names())
    return [{"method": m.name, "what it does": m.summary, "options": ", ".join(m.config.model_fields)} for m in methods]


def _functions() -> Rows:
    from passes.functions import activation_names
    from passes.functions.catalogue import catalogue_entry

    return [{"function": name, "f(x)": str(catalogue_entry(name).expression)} for name in activation_names()]


def _decompositions() -> Rows:
    from passes.functions import decomposition, decomposition_names

    found = map(decomposition, decomposition_names())
    return [{"decomposition": d.name, "of": d.of, "F": str(d.expression), "note": d.note} for d in found]
