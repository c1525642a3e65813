"""``rewrite-model apply --stream``: a checkpoint of any size, without the model in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from rewriter.cli.opening import record_of
from rewriter.cli.output import console
from rewriter.doors import plan
from rewriter.errors import UsageError
from rewriter.recipe import Recipe
from rewriter.sources.inputs import example_inputs, parse_input_shape
from rewriter.sources.structure import load_structure

StreamOption = Annotated[
    bool, typer.Option("--stream", help="rewrite the checkpoint tensor by tensor, without the model in memory")
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="processes of --stream; default: 1")]
ShardSizeOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="largest shard of --stream, such as 500MB; default: 5GB")
]
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(K|M|G|T)?(I)?B?", re.IGNORECASE)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class Streaming:
    """How a checkpoint is streamed.

    Attributes:
        workers: number of processes.
        shard_size: largest shard in bytes.
    """

    workers: int
    shard_size: int


def streaming_of(stream: bool, workers: int | None, shard_size: str | None, trust_pickle: bool) -> Streaming | None:
    """Gather the options of ``--stream``; None without it.

    Raises:
        UsageError: one of them was given without ``--stream``, together with ``--trust-pickle``, or is no size.
    """
    if not stream and (workers, shard_size) != (None, None):
        raise UsageError(
            expected="--workers and --shard-size together with --stream", found="no --stream", remedy="add --stream"
        )
    if stream and trust_pickle:
        raise UsageError(
            expected="--stream or --trust-pickle",
            found="both",
            remedy="save the checkpoint again with safetensors, then stream it",
        )
    return Streaming(workers or 1, parse_size(shard_size or "5GB")) if stream else None


def parse_size(text: str) -> int:
    """Read a number of bytes, such as ``5GB``, ``1.5 GiB`` or ``4096``.

    Raises:
        UsageError: it is none, or less than one byte.
    """
    found = _SIZE.fullmatch(text.strip())
    number = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[(found[2] or "").upper()] if found else 0
    if number < 1:
        raise UsageError(expected="a size such as 5GB or 500MB", found=repr(text), remedy="change --shard-size")
    return int(number)


def apply_stream(
    source: str,
    options: Mapping[str, Any],
    checkpoint: Path | None,
    input_shape: str | None,
    output: Path,
    streaming: Streaming,
) -> tuple[Recipe, list[str]]:
    """Plan on the structure alone and stream the checkpoint into a new folder; progress is shown on stderr.

    Returns:
        The recipe, and the names of the shards.

    Raises:
        RewriterError: as planning and streaming do.
    """
    from rewriter.streaming import stream  # it needs a POSIX system, and nothing else does

    if checkpoint is None or "calibration" in options:
        raise UsageError(
            expected="--checkpoint and no --calibration together with --stream",
            found="no --checkpoint" if checkpoint is None else "--calibration",
            remedy="give the folder of the weights" if checkpoint is None else "leave --stream out: the model must run",
        )
    words = console(as_json=True)
    with words.status(f"planning {source} without its weights"):
        loaded = load_structure(source, input_shape=parse_input_shape(input_shape) if input_shape else None)
        inputs = example_inputs(loaded.inputs) if loaded.inputs else None
        recipe = plan(loaded.model, source=record_of(loaded, checkpoint, ()), example_inputs=inputs, **options)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=words) as bar:
        task = bar.add_task("streaming")
        shards = stream(
            loaded.model,
            recipe,
            checkpoint,
            output,
            shard_size=streaming.shard_size,
            workers=streaming.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return recipe, shards
