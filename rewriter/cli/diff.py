"""``rewrite-model diff``: what a rewritten model has become, against the original."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rewriter.checkpoints.listing import count_and_name
from rewriter.cli.arguments import CheckpointOption, FolderArgument, JsonOption, TrustPickleOption
from rewriter.cli.opening import open_folder, warn_of_trust
from rewriter.cli.output import console, print_json
from rewriter.comparison import Difference, compare, find_original
from rewriter.comparison.difference import SiteDifference
from rewriter.comparison.source import SourceChange
from rewriter.comparison.tensors import TensorChange
from rewriter.sources.inputs import example_inputs

_BATCH = 4
_AGAINST: Final = {
    "recorded": "compared with the very weights that were rewritten (sha256)",
    "other": "compared with a checkpoint other than the recipe's (sha256): errors include how far the two are apart",
    "unrecorded": "compared with weights that the recipe has no sha256 of",
    "none": "no original weights, so structure alone: give them with --checkpoint",
}

_COLOURS: Final = {"-": "red", "+": "green", "@": "dim"}


def diff_command(
    directory: FolderArgument,
    checkpoint: CheckpointOption = None,
    trust_pickle: TrustPickleOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what DIR's model is against the original: sites, shapes, source, parameters, errors of the outputs."""
    to, progress = console(as_json), console(as_json=True)
    with progress.status(f"restoring {directory}"):
        opened = open_folder(directory)
    with progress.status("building the original"):
        warn_of_trust(checkpoint, trust_pickle)
        original = find_original(opened.source, checkpoint, trust_pickle=trust_pickle)
    inputs = example_inputs(opened.inputs, _BATCH) if opened.inputs else None
    with progress.status("running both"):
        difference = compare(original, opened.model, opened.recipe, inputs)
    if as_json:
        print_json(difference)
        return
    to.print(_table(difference))
    for change in difference.source:
        _show_source(to, change)
    names = difference.names
    to.print(
        count_and_name(
            {
                "tensors bit for bit as before": names.unchanged,
                "of the same shape, not compared": names.uncompared,
                "changed": names.changed,
                "new": names.new,
                "gone": names.gone,
            }
        )
    )
    to.print(f"whole model: {difference.parameters_before:,} → {difference.parameters_after:,} parameters")
    to.print(_AGAINST[difference.original_weights])
    if difference.error is not None:
        to.print(f"relative error of the model's outputs on {_BATCH} random inputs: {_shown(difference.error)}")
    elif inputs is None:
        to.print("inputs unknown: the models were not run; apply with --input-shape")


def _table(difference: Difference) -> Table:
    table = Table(title=f"{len(difference.sites)} sites · method {difference.method}", title_justify="left")
    for heading in ("site", "was", "is", "tensors"):
        table.add_column(heading, overflow="fold")
    for heading in ("parameters", "‖Δy‖/‖y‖"):
        table.add_column(heading, justify="right")
    for site in difference.sites:
        table.add_row(
            site.path,
            site.before,
            site.after,
            _changes(site),
            f"{site.parameters_before:,} → {site.parameters_after:,}",
            _shown(site.error),
        )
    return table


def _show_source(to: Console, change: SourceChange) -> None:
    where = "nodes of its graph" if change.module is None else f"{change.module}, line {change.first_line}"
    paths = [path or "(model)" for path in change.paths]
    modules = count_and_name({"module" if len(paths) == 1 else "modules": paths})
    to.print(f"{change.class_name}.{change.method}, {where}, in {modules}", soft_wrap=True)
    for line in change.diff:
        to.print(Text(line, style=_COLOURS.get(line[0], "")), soft_wrap=True)


def _changes(site: SiteDifference) -> str:
    reshaped = [one for one in site.tensors if one.before is not None and one.after is not None]
    lines = [f"{_within(site, one)} {_shape(one.before)} → {_shape(one.after)}" for one in reshaped]
    for what, part in (
        ("gone", [one for one in site.tensors if one.after is None]),
        ("new", [one for one in site.tensors if one.before is None]),
    ):
        if part:
            lines.append(f"{len(part)} {what}: {_within(site, part[0])}" + (", …" if len(part) > 1 else ""))
    return "\n".join(lines)


def _within(site: SiteDifference, change: TensorChange) -> str:
    """Name a tensor from where its name and the site's part."""
    parts, others = change.name.split("."), site.path.split(".")
    common = next((i for i, pair in enumerate(zip(parts, others, strict=False)) if pair[0] != pair[1]), len(others))
    return ".".join(parts[common:])


def _shape(shape: tuple[int, ...] | None) -> str:
    return "×".join(map(str, shape or ()))


def _shown(error: float | None) -> str:
    return "" if error is None else f"{error:.1e}"
