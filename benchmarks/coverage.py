"""Coverage: plan, rewrite and export the models of timm, torchvision, transformers and others; write what holds."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.commit import commit
from benchmarks.coverage_table import environment_page, plan_page, rewrite_page
from benchmarks.export_check import EXPORT, ExportRow, check_export
from benchmarks.export_table import export_page
from benchmarks.identity_check import IDENTITY, IdentityRow, check_identity
from benchmarks.identity_table import identity_page
from benchmarks.plan_check import PlanRow, check_plan
from benchmarks.rewrite_check import RewriteRow, check_rewrite
from benchmarks.row_file import RowFile
from benchmarks.zoo import Sample, zoo
from benchmarks.zoo_libraries import left_out, library_versions
from benchmarks.zoo_model import ZooModel
from rewriter.bench.environment import environment
from rewriter.bench.isolation import Lost, measure_apart
from rewriter.errors import RewriterError, UsageError
from rewriter.methods import get_method
from rewriter.names import require_known

_PLAN = "plan"
_PARTS = {_PLAN: PlanRow, IDENTITY: IdentityRow, "rewrite": RewriteRow, EXPORT: ExportRow}
_PAGES = {_PLAN: plan_page, IDENTITY: identity_page, "rewrite": rewrite_page, EXPORT: export_page}
_PACKAGES = ("timm", "torchvision", "transformers")


@dataclass(frozen=True)
class Task:
    """One model and what to do with it.

    Attributes:
        model: the model.
        method: ``plan``, ``identity``, ``export`` or the name of a method to rewrite with.
        exported: for ``export``, the methods of which the first that has a site rewrites the model.
    """

    model: ZooModel
    method: str
    exported: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """The file that the row belongs to."""
        return self.method if self.method in (_PLAN, IDENTITY, EXPORT) else "rewrite"


def measure(task: Task) -> PlanRow | IdentityRow | RewriteRow | ExportRow:
    """Carry one task out; runs in a worker process."""
    warnings.simplefilter("ignore")  # thousands of models warn of what does not concern coverage
    if task.method == EXPORT:
        return check_export(task.model, task.exported)
    if task.method == IDENTITY:
        return check_identity(task.model)
    return check_plan(task.model) if task.method == _PLAN else check_rewrite(task.model, task.method)


def run(tasks: Sequence[Task], files: dict[str, RowFile], *, workers: int, limit_s: float) -> None:
    """Measure tasks with a progress bar; every row is on the disk as soon as it is known."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("coverage", total=len(tasks))
        for task, row in measure_apart(tasks, measure, workers=workers, limit_s=limit_s):
            progress.update(bar, advance=1, description=f"{task.model.name} {task.method}")
            found = _lost(task, row) if isinstance(row, Lost) else row
            files[task.part].add(found)


def main(
    library: Annotated[str, typer.Argument(help="timm, torchvision, transformers or libraries (all others)")],
    models: Annotated[list[str] | None, typer.Option(help="a glob on names; may be repeated")] = None,
    sample: Annotated[str, typer.Option(help="all, smallest (of each family), classification or ci")] = "all",
    identity: Annotated[bool, typer.Option("--identity", help="rewrite with the functions there are")] = False,
    methods: Annotated[str, typer.Option(help="methods to rewrite with, commas between them; none: plan only")] = "",
    export: Annotated[str, typer.Option(help="export rewritten by the first of these that has a site")] = "",
    output: Annotated[Path, typer.Option(help="folder of the CSV files and the page")] = Path("benchmarks/results"),
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="keep the rows that are there")] = True,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    limit: Annotated[float, typer.Option(help="seconds for one model and method")] = 600.0,
) -> None:
    """Check the models of a library; writes coverage-LIBRARY-SAMPLE{-plan,-identity,-rewrite,-export}.csv and .md."""
    try:
        chosen = zoo(library, _sample(sample), models or [], _known_sizes(output, library))
        wanted = [_PLAN, *([IDENTITY] if identity else []), *_named(methods)]
        exported = _exportable(library, _named(export))
    except RewriterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    missing = left_out() if library == "libraries" else {}
    for name, why in missing.items():
        typer.echo(f"left out: {name}, {why}", err=True)
    stem = f"coverage-{library}-{sample}"
    files = {part: RowFile(output / f"{stem}-{part}.csv", kind, fresh=not resume) for part, kind in _PARTS.items()}
    done = {(row["name"], row["method"]) for file in files.values() for row in file.read()}
    tasks = [Task(model, method) for model in chosen for method in wanted]
    tasks += [Task(model, EXPORT, exported) for model in chosen if exported]
    tasks = [task for task in tasks if (task.model.name, task.method) not in done]
    try:
        run(tasks, files, workers=workers, limit_s=limit)
    except KeyboardInterrupt:
        typer.echo("stopped; run the same command again to continue", err=True)
        raise typer.Exit(130) from None
    finally:
        command = "python -m benchmarks.coverage " + shlex.join(sys.argv[1:])
        facts = {
            "command": f"`{command}`",
            "commit": commit(),
            **({"rows of earlier runs": str(len(done))} if done else {}),
        }
        facts |= library_versions() if library == "libraries" else {}
        facts |= {f"left out: {name}": why for name, why in missing.items()}
        page = write_page(output / f"{stem}.md", f"Coverage of {library} ({sample})", files, facts)
        measured = sum(len(file.read()) for file in files.values()) - len(done)
        typer.echo(f"{measured} of {len(tasks)} measured; see {page}")


def write_page(path: Path, title: str, files: dict[str, RowFile], facts: Mapping[str, str]) -> Path:
    """Write the Markdown page from the rows that are on the disk."""
    facts = {**facts, **environment(), **{package: version(package) for package in _PACKAGES}}
    lines = [f"# {title}", "", *environment_page(facts)]
    for part, page in _PAGES.items():
        rows = files[part].read()
        if rows:
            lines += [*page(rows), ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def _known_sizes(output: Path, library: str) -> dict[str, int]:
    planned = RowFile(output / f"coverage-{library}-all-plan.csv", PlanRow, fresh=False).read()
    return {row["name"]: int(row["parameters"]) for row in planned if not row["crash"]}


def _sample(name: str) -> Sample:
    return cast(Sample, require_known(name, get_args(Sample), "sample"))


def _exportable(library: str, methods: tuple[str, ...]) -> tuple[str, ...]:
    if methods and library == "libraries":
        raise UsageError(
            expected="--export with timm, torchvision or transformers",
            found="libraries, whose inputs have no batch of any size",
            remedy="leave --export out",
        )
    return methods


def _named(methods: str) -> tuple[str, ...]:
    return tuple(get_method(name).name for name in methods.split(",") if name)


def _lost(task: Task, lost: Lost) -> PlanRow | IdentityRow | RewriteRow | ExportRow:
    model = task.model
    if task.method == EXPORT:
        return ExportRow(model.library, model.name, model.family, outcome="failed", reason=lost.reason)
    if task.method == _PLAN:
        planned = PlanRow(model.library, model.name, model.family, counted=model.counted, note=model.note)
        return replace(planned, crash=lost.reason)
    if task.method == IDENTITY:
        return IdentityRow(model.library, model.name, model.family, outcome="failed", reason=lost.reason)
    row = RewriteRow(model.library, model.name, model.family, task.method)
    return replace(row, outcome="failed", reason=lost.reason)


if __name__ == "__main__":
    typer.run(main)
