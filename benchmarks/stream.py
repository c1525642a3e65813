"""Streaming a large checkpoint: memory, time against copying the files, and kills.

``python -m benchmarks.stream SCRATCH --output benchmarks/results``
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks.process_tree import Ran, run, timed
from benchmarks.stream_checkpoint import LLAMA_70B, make_checkpoint, write_config
from benchmarks.stream_table import markdown
from rewriter.bench.environment import environment

_METHOD = "hdfgd"
_WAYS = ((1, "cold"), (2, "cold"))  # workers, and what of the source is in the page cache
app = typer.Typer(add_completion=False)


@app.command()
def measure(
    scratch: Annotated[Path, typer.Argument(help="a folder for the checkpoints; what is made in it is removed")],
    gigabytes: Annotated[float, typer.Option(help="size of the checkpoint")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="rounds of each measurement")] = 3,
    kills: Annotated[int, typer.Option(min=0, help="how often it is killed")] = 4,
    output: Annotated[Path | None, typer.Option(help="folder for stream.json and stream.md")] = None,
) -> None:
    """Make a checkpoint, stream it and copy it in turn, and kill the stream."""
    console = Console(stderr=True)
    _require_space(scratch, gigabytes)
    folder = scratch / "stream-benchmark"
    folder.mkdir(exist_ok=True)
    try:
        with Progress(console=console) as bar:
            result = _measured(folder, gigabytes, rounds, kills, bar)
    finally:
        shutil.rmtree(folder)
    options = f"--gigabytes {gigabytes:g} --rounds {rounds} --kills {kills}"
    result["command"] = f"python -m benchmarks.stream SCRATCH {options}"
    page = markdown(result)
    if output is not None:
        (output / "stream.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (output / "stream.md").write_text(page, encoding="utf-8")
    console.print(page)


def _measured(folder: Path, gigabytes: float, rounds: int, kills: int, bar: Progress) -> dict[str, Any]:
    task = bar.add_task("streaming", total=1 + len(_WAYS) * rounds + kills)
    source, copy, expected, again = (folder / name for name in ("source", "copy", "expected", "again"))
    size = make_checkpoint(source, gigabytes)
    bar.advance(task)
    measured: dict[tuple[int, str], list[tuple[Ran, float]]] = {}
    for _ in range(rounds):
        for workers, cache in _WAYS:
            _prepare(source, cache)
            copied = timed(lambda: subprocess.run(["cp", "-r", source, copy], check=True))
            shutil.rmtree(copy)
            _prepare(source, cache)
            ran = _stream(source, again, workers)
            measured.setdefault((workers, cache), []).append((ran, copied))
            _keep(again, expected)
            bar.advance(task)
    hashes = _hashes(expected)
    report = json.loads((expected / "report.json").read_text())["totals"]
    typical = {w: statistics.median(ran.seconds for ran, _ in measured[w, "cold"]) for w in (1, 2)}
    chance = random.Random(0)
    done = []
    for number in range(kills):
        workers = 1 + number % 2
        after = chance.uniform(0.1, 0.95) * typical[workers]
        run(_command(source, again, workers), kill_after=after)
        second = 0.0 if again.exists() else _stream(source, again, workers).seconds
        identical = _hashes(again) == hashes and not list(folder.glob(".again*"))
        done.append(
            {
                "workers": workers,
                "after_seconds": round(after, 1),
                "rerun_seconds": round(second, 1),
                "identical": identical,
            }
        )
        shutil.rmtree(again)
        bar.advance(task)
    write_config(folder / "70b", LLAMA_70B)
    planned = _succeeded(run([*_PROGRAM, "plan", f"hf:{folder / '70b'}", "--method", _METHOD, "--json"]))
    return {
        "method": _METHOD,
        "gigabytes": round(size / 1e9, 2),
        "shards": len(list(source.glob("*.safetensors"))),
        "resized_share": f"{report['resized_after'] / report['parameters_after']:.0%}",
        "copy_seconds": [round(copied, 1) for _, copied in measured[1, "cold"]],
        "rows": [_row(workers, cache, figures) for (workers, cache), figures in measured.items()],
        "kills": done,
        "plan_70b_seconds": round(planned.seconds, 1),
        "plan_70b_peak_gb": round(planned.peak / 1e9, 2),
        "environment": environment(),
    }


def _row(workers: int, cache: str, figures: list[tuple[Ran, float]]) -> dict[str, Any]:
    return {
        "workers": workers,
        "cache": cache,
        "seconds": round(statistics.median(ran.seconds for ran, _ in figures), 1),
        "copy_seconds": round(statistics.median(copied for _, copied in figures), 1),
        "ratio": round(statistics.median(ran.seconds / copied for ran, copied in figures), 2),
        "peak_gb": round(max(ran.peak for ran, _ in figures) / 1e9, 2),
        "bound_gb": round(max(ran.bound for ran, _ in figures) / 1e9, 2),
    }


_PROGRAM = [sys.executable, "-m", "rewriter.cli.main"]


def _command(source: Path, output: Path, workers: int) -> list[str]:
    options = ["--method", _METHOD, "--stream", "--workers", str(workers), "--shard-size", "1GB", "--json"]
    return [*_PROGRAM, "apply", f"hf:{source}", "--checkpoint", str(source), "-o", str(output), *options]


def _stream(source: Path, output: Path, workers: int) -> Ran:
    return _succeeded(run(_command(source, output, workers)))


def _succeeded(ran: Ran) -> Ran:
    if ran.code != 0:
        raise RuntimeError(f"exit code {ran.code}: {ran.error}")
    return ran


def _keep(made: Path, expected: Path) -> None:
    if expected.exists():
        shutil.rmtree(made)
    else:
        made.rename(expected)


def _prepare(source: Path, cache: str) -> None:
    os.sync()
    for file in source.iterdir():
        with file.open("rb") as opened:
            if cache == "cold":
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while opened.read(1 << 22):
                    pass


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: _hash(file) for file in sorted(folder.iterdir())}


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _require_space(scratch: Path, gigabytes: float) -> None:
    free, needed = shutil.disk_usage(scratch).free / 1e9, 3.2 * gigabytes + 1
    if free < needed:
        raise typer.BadParameter(f"expected {needed:.0f} GB free in {scratch}; found {free:.0f} GB; name another disk")


if __name__ == "__main__":
    app()
