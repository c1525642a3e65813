"""The stream: a checkpoint of any size goes in, a folder with the rewritten one comes out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import torch
from torch import nn

from rewriter.checkpoints.loading import two_values
from rewriter.checkpoints.matching import Match, match_checkpoint
from rewriter.checkpoints.reading import stored_tensors
from rewriter.errors import CheckpointError, ValidationError
from rewriter.recipe import Recipe
from rewriter.report import report_of
from rewriter.storage.folder import INDEX, require_new, write_records
from rewriter.streaming.composition import compose, streamed
from rewriter.streaming.partial import Partial, partial_of
from rewriter.streaming.provenance import files_of, name_of_work, with_digests
from rewriter.streaming.shard_file import PIECE
from rewriter.streaming.shards import Shard, index_of, shards_of
from rewriter.streaming.workers import HashSource, Task, WriteShard, carry_out

Progress = Callable[[int, int], None]


def stream(
    model: nn.Module,
    recipe: Recipe,
    checkpoint: Path,
    directory: Path,
    *,
    shard_size: int = 5_000_000_000,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Rewrite a checkpoint into a new folder: shards of safetensors with their index, recipe and report.

    Tensors that the recipe leaves alone are copied in their own dtype, the others are made one layer at a time, with
    the values that they get in memory. A run that was killed is gone on with by the same call.

    Args:
        model: the model that the recipe was made for; its values are not needed, so it may be on the ``meta`` device.
            It is of no use afterwards.
        recipe: what to do.
        checkpoint: see `stored_tensors`.
        directory: the folder to make.
        shard_size: largest size of the tensors of a shard in bytes; a single larger one gets a shard of its own.
        workers: number of processes.
        progress: called with the number of bytes that were read or written so far, and in all.

    Returns:
        The names of the shards.

    Raises:
        UsageError: the folder exists, another process writes it, or the recipe was made for another model.
        CheckpointError: the checkpoint is unreadable, unsafe, not finite, or not the model's.
    """
    origin = repr(str(checkpoint))
    match = match_checkpoint(model, stored_tensors(checkpoint), origin)
    _require_one_value(match, origin)
    files = files_of(match)
    shards = shards_of(compose(model, recipe, match), shard_size)
    work = name_of_work(recipe, shards, files)
    with partial_of(directory) as partial:
        if not partial.is_only_to_be_removed(work):
            require_new(directory)
            try:
                _fill(partial, work, recipe, files, shards, workers, progress)
            except (CheckpointError, ValidationError):
                partial.clear()  # another run would find the same
                raise
        partial.finish()
    return [shard.name for shard in shards]


def _fill(
    partial: Partial,
    work: str,
    recipe: Recipe,
    files: dict[str, Path],
    shards: list[Shard],
    workers: int,
    progress: Progress,
) -> None:
    done = partial.begin(work)
    reading = [HashSource(name, file, done.get(name)) for name, file in files.items()]
    writing = [WriteShard(shard.name, shard, partial, done.get(shard.name)) for shard in shards]
    # In turn, so that of two processes one waits for the disk while the other computes.
    tasks: list[Task] = [task for pair in zip_longest(reading, writing) for task in pair if task is not None]
    total = sum(file.stat().st_size for file in files.values()) + sum(shard.nbytes for shard in shards)
    passed = 0

    def count(nbytes: int) -> None:
        nonlocal passed
        passed += nbytes
        progress(passed, total)

    for task, written in carry_out(tasks, workers, count):
        if done.get(task.name) != written:
            partial.note(task.name, written)
        done[task.name] = written
    (partial.result / INDEX).write_text(index_of(shards), encoding="utf-8")
    complete = with_digests(
        recipe,
        {file.name: done[name] for name, file in files.items()},
        {shard.name: done[shard.name] for shard in shards},
        partial.result / INDEX,
    )
    write_records(partial.result, complete, report_of(complete))


def _require_one_value(match: Match, origin: str) -> None:
    for names in match.tied:
        first, *others = (streamed(name, match.given[name]) for name in names)
        for other in others:
            pairs = zip(first.pieces(PIECE), other.pieces(PIECE), strict=True)
            if first.dtype != other.dtype or not all(torch.equal(a, b) for a, b in pairs):
                raise two_values(names, origin)
