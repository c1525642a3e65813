"""What the commands print: tables for people, one JSON object for programs."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from rewriter.recipe import Recipe
from rewriter.report import Report

_LISTED_REASONS = 12


def console(as_json: bool) -> Console:
    """Give the console for words and tables: stdout, or stderr when stdout belongs to a JSON object."""
    return Console(stderr=as_json, highlight=False, markup=False)


def print_json(value: BaseModel) -> None:
    """Print one JSON object on stdout."""
    print(value.model_dump_json(indent=1))


def show_report(to: Console, report: Report, recipe: Recipe) -> None:
    """Print the sites, what was left and why, and the totals."""
    table = Table(title=f"{len(report.sites)} sites · method {report.method}", title_justify="left")
    resized = any(site.hidden is not None for site in report.sites)
    for heading in ("depth", "site", "was", "becomes"):
        table.add_column(heading, justify="right" if heading == "depth" else "left", overflow="fold")
    for heading in ("hidden", "parameters") if resized else ():
        table.add_column(heading, justify="right")
    for site in report.sites:
        cells = [str(site.depth), site.path, site.activation, site.placement.function]
        if site.hidden is not None:
            cells.append(f"{site.hidden[0]} → {site.hidden[1]}")
            cells.append(f"{site.parameters_before:,} → {site.parameters_after:,}")
        table.add_row(*cells)
    to.print(table)
    if report.misses:
        to.print(_misses(report))
    show_totals(to, report, recipe)


def show_totals(to: Console, report: Report, recipe: Recipe) -> None:
    """Print the parameters before and after, of the resized sites and of the model."""
    totals = report.totals
    if totals.resized_before:
        share = totals.resized_after / totals.resized_before
        promise = "within budget" if recipe.holds_budget else f"width {recipe.options['width']}: no budget promised"
        to.print(
            f"rewritten MLPs: {totals.resized_before:,} → {totals.resized_after:,} parameters ({share:.2%}, {promise})"
        )
    to.print(f"whole model:    {totals.parameters_before:,} → {totals.parameters_after:,} parameters")


def _misses(report: Report) -> Table:
    counts = Counter((miss.reason, miss.function) for miss in report.misses)
    example = {(miss.reason, miss.function): miss.path for miss in reversed(report.misses)}
    table = Table(title=f"{len(report.misses)} left as they are", title_justify="left")
    for heading in ("number", "what", "why", "for example"):
        table.add_column(heading, justify="right" if heading == "number" else "left", overflow="fold")
    for (reason, function), count in counts.most_common(_LISTED_REASONS):
        table.add_row(str(count), function, reason, example[reason, function])
    rest = len(counts) - _LISTED_REASONS
    if rest > 0:
        table.add_row("", "", f"{rest} more reasons: --json lists every miss", "")
    return table
