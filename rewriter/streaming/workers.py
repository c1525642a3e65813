"""Writing shards, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from rewriter.errors import UsageError
from rewriter.streaming.partial import Partial
from rewriter.streaming.shard_file import Written, hash_file, write_shard
from rewriter.streaming.shards import Shard

Progress = Callable[[int], None]
_POLL = 0.2  # seconds


class Task(Protocol):
    """A part of the work that one process does alone."""

    @property
    def name(self) -> str:
        """Its name in the journal."""

    def carry_out(self, passed: Progress) -> Written:
        """Do it; ``passed`` is called with the number of bytes after each piece."""


@dataclass(frozen=True)
class HashSource:
    """Digest a file of the checkpoint, unless a run before did."""

    name: str
    file: Path
    finished: Written | None

    def carry_out(self, passed: Progress) -> Written:
        """Read the file once."""
        if self.finished is not None:
            passed(self.finished.size)
        return self.finished or hash_file(self.file, passed)


@dataclass(frozen=True)
class WriteShard:
    """Write a shard, unless what a run before wrote is still as the journal says."""

    name: str
    shard: Shard
    partial: Partial
    finished: Written | None

    def carry_out(self, passed: Progress) -> Written:
        """Write the shard, or check it."""
        target = self.partial.result / self.name
        if self.finished is not None and target.is_file() and target.stat().st_size == self.finished.size:
            found = hash_file(target, passed)
            if found == self.finished:
                return found
            passed(-found.size)
        scratch = self.partial.scratch(self.name)
        written = write_shard(self.shard, scratch, passed)
        scratch.rename(target)
        return written


def carry_out(tasks: Iterable[Task], workers: int, passed: Progress) -> Iterator[tuple[Task, Written]]:
    """Carry tasks out, and yield each as it ends.

    Args:
        tasks: what to do; the order does not matter to the result.
        workers: number of processes; with 1 it is this one.
        passed: called with the number of bytes that were written meanwhile.

    Raises:
        RewriterError: what a task raised.
        UsageError: a worker process was killed.
    """
    if workers == 1:
        for task in tasks:
            yield task, task.carry_out(passed)
        return
    # Forked, the processes share what is loaded; torch's threads stay behind, and are not asked for again.
    context = multiprocessing.get_context("fork")
    counter = context.Value("q", 0)
    counted = 0
    todo = list(tasks)
    with ProcessPoolExecutor(workers, context, _start, (todo, counter, os.getpid())) as pool:
        pending = {pool.submit(_in_worker, number): task for number, task in enumerate(todo)}
        try:
            while pending:
                done, _ = wait(pending, _POLL, FIRST_COMPLETED)
                now = counter.value
                passed(now - counted)
                counted = now
                for future in done:
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise UsageError(
                expected="worker processes that run to their end",
                found="one that was killed",
                remedy="run the same command again, with fewer --workers if memory was short",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_tasks: Sequence[Task] = ()
_counter: Any = None
_parent = 0


def _start(tasks: Sequence[Task], counter: Any, parent: int) -> None:
    global _tasks, _counter, _parent
    _tasks, _counter, _parent = tasks, counter, parent
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _in_worker(number: int) -> Written:
    return _tasks[number].carry_out(_count)


def _count(nbytes: int) -> None:
    with _counter.get_lock():
        _counter.value += nbytes


def _end_with_parent() -> None:
    # After a kill of the run, nobody would tell its workers; until they end, no other run gets the folder.
    while os.getppid() == _parent:
        time.sleep(_POLL)
    os._exit(1)
