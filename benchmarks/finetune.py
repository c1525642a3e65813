"""Trained CIFAR-10 ResNets, rewritten with ``swap`` (CRReLU) and ``ga``, annealed and fine-tuned for a few minutes.

``python -m benchmarks.finetune --data DIR --output benchmarks/results`` writes ``finetune.json`` and ``finetune.md``.
It runs what a user would: ``rewrite-model apply`` on the checkpoint, then ``rewrite-model finetune`` with the
original as the teacher. DIR holds ``checkpoints/MODEL-*.th``, ``cifar10/`` and ``cifar.py``, which writes its images as
``.npz`` files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.finetune_table import markdown, rich_table
from rewriter.bench.environment import environment

# GA adds x to each f unless it is told not to; behind every sum of a trained residual network that doubles the slope.
# With the paper's lift of 1, the slopes of ReLU's adversarial function are 1 and 1/2; with 0.1 they are 10 and 10/11.
_GA = ("--method", "ga", "--set", "lifted=false")
_METHODS = {"swap": ("--method", "swap"), "ga": _GA, "ga-bent": (*_GA, "--set", "alpha=0.1")}
_SOURCES = "py:tests.models.resnet_cifar"


def command(*arguments: object) -> Any:
    """Run ``rewrite-model`` with ``--json`` and return the object that it prints; its progress goes to stderr."""
    line = [sys.executable, "-m", "rewriter.cli.main", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True, text=True).stdout)


def measure(
    model: str, method: str, checkpoint: Path, images: Path, scratch: Path, training: list[str]
) -> dict[str, Any]:
    """Rewrite and fine-tune one model, and return the row of the table.

    Args:
        model: a function of the source module.
        method: which rewrite.
        checkpoint: the trained weights.
        images: the folder with ``train.npz`` and ``test.npz``.
        scratch: for the rewritten model.
        training: options of ``rewrite-model finetune``.
    """
    folder = scratch / f"{model}-{method}"
    command("apply", f"{_SOURCES}:{model}", "--checkpoint", checkpoint, *_METHODS[method], "-o", folder)
    data = ("--data", images / "train.npz", "--test", images / "test.npz", "--teacher-checkpoint", checkpoint)
    record = command("finetune", folder, *data, *training)
    return {
        "model": model,
        "method": " ".join(_METHODS[method][1:]).replace("--set ", ""),
        **{name: record[name]["accuracy"] for name in ("original", "before", "after")},
        "steps": record["steps"],
        "seconds": round(record["seconds"], 1),
        "images_per_second": round(record["steps"] * record["settings"]["batch_size"] / record["seconds"], 1),
        "options": " ".join(training),
        "environment": {**environment(), "threads": str(torch.get_num_threads())},
    }


def write(output: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows beside those of other models and methods that a folder has."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / "finetune.json"
    new = {(row["model"], row["method"]): row for row in rows}
    old = {(row["model"], row["method"]): row for row in json.loads(path.read_text())} if path.exists() else {}
    merged = [row for _, row in sorted({**old, **new}.items())]
    path.write_text(json.dumps(merged, indent=1) + "\n")
    (output / "finetune.md").write_text(markdown(merged))


def main(
    data: Annotated[Path, typer.Option(help="Folder with checkpoints/, cifar10/ and cifar.py.")],
    output: Annotated[Path | None, typer.Option(help="Folder for finetune.json and finetune.md.")] = None,
    model: Annotated[str, typer.Option(help="resnet20 or resnet56.")] = "resnet56",
    method: Annotated[list[str], typer.Option(help="swap, ga (α = 1) and ga-bent (α = 0.1).")] = list(_METHODS),  # noqa: B006
    minutes: Annotated[float, typer.Option(help="Of training, for each method.")] = 10.0,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.01,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
) -> None:
    """Measure, print a table, and write the results beside those of other models and methods that are there."""
    training = ["--max-minutes", str(minutes), "--lr", str(lr), "--batch-size", str(batch_size)]
    training += ["--augment", "crop,flip", "--precision", "bf16"]
    (checkpoint,) = (data / "checkpoints").glob(f"{model}-*.th")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        subprocess.run(
            [sys.executable, str(data / "cifar.py"), "cifar10", str(scratch)], check=True, stdout=subprocess.DEVNULL
        )
        rows = [measure(model, name, checkpoint, scratch, scratch, training) for name in method]
    Console().print(rich_table(rows))
    if output is not None:
        write(output, rows)


if __name__ == "__main__":
    typer.run(main)
