"""Planning a model of 70 billion parameters that is never in memory: seconds of each part, and the peak.

``python -m benchmarks.large_plan --output benchmarks/results`` writes ``large-plan.{json,csv,md}``.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.stream_checkpoint import LLAMA_70B, write_config
from rewriter.bench.environment import environment
from rewriter.bench.isolation import Lost, measure_apart
from rewriter.bench.memory import resident_peak
from rewriter.bench.results import Bound, Results, Row

_METHOD = "hdfgd"
_SECONDS, _GIGABYTES, _LIMIT_S = 10.0, 2.0, 300.0


def measure(folder: Path) -> Row:
    """Build the model on the meta device and plan it, without and with example inputs; runs in a process of its own."""
    import rewriter
    from rewriter.sources.inputs import example_inputs
    from rewriter.sources.structure import load_structure

    source, build = _timed(lambda: load_structure(f"hf:{folder}"))
    recipe, plan = _timed(lambda: rewriter.plan(source.model, _METHOD))
    inputs = example_inputs(source.inputs)
    _, recorded = _timed(lambda: rewriter.plan(source.model, _METHOD, example_inputs=inputs))
    peak = resident_peak()
    return {
        "parameters (10⁹)": round(recipe.parameters_before / 1e9, 1),
        "sites": len(recipe.sites),
        "build (s)": round(build, 2),
        "plan (s)": round(plan, 2),
        "plan with example inputs (s)": round(recorded, 2),
        "peak resident (GB)": None if peak is None else round(peak / 1e9, 2),
    }


def main(output: Annotated[Path | None, typer.Option(help="folder for large-plan.{json,csv,md}")] = None) -> None:
    """Measure, print a table, and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "llama"
        write_config(config, LLAMA_70B)
        ((_, row),) = measure_apart([config], measure, workers=1, limit_s=_LIMIT_S)
    if isinstance(row, Lost):
        raise RuntimeError(f"the measurement was lost: {row}")
    bounds = [Bound("plan with example inputs (s)", _SECONDS, _number(row["plan with example inputs (s)"]))]
    if row["peak resident (GB)"] is not None:
        bounds.append(Bound("peak resident (GB)", _GIGABYTES, _number(row["peak resident (GB)"])))
    results = Results(
        title="Planning a Llama of 70 billion parameters on the meta device",
        command="python -m benchmarks.large_plan " + shlex.join(sys.argv[1:]),
        environment=environment(),
        tables={"Plan": [row]},
        bounds=bounds,
        notes="Imports are not counted. With example inputs, as the command line has them, the code that cannot be\n"
        "traced is recorded on tensors without values, too.",
    )
    for table in results.rich_tables():
        Console().print(table)
    if output is not None:
        results.write(output, "large-plan")


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def _number(cell: Any) -> float:
    return float(cell)


if __name__ == "__main__":
    typer.run(main)
