"""Measuring in worker processes, so that a crash, a hang or a lack of memory costs one measurement only."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Lost:
    """A measurement that did not come back, and why."""

    reason: str


@dataclass
class _Worker(Generic[Task]):
    process: SpawnProcess
    connection: Connection
    task: Task
    started: float


def measure_apart(
    tasks: Sequence[Task], measure: Callable[[Task], Row], *, workers: int, limit_s: float
) -> Iterator[tuple[Task, Row | Lost]]:
    """Measure each task in one of several processes; results come as they are ready.

    A process serves many tasks. One that dies, or takes longer than the limit, is replaced, and its task is lost.

    Args:
        tasks: what to measure; each can be pickled.
        measure: a function of a module that is imported in the processes; it should not raise.
        workers: number of processes.
        limit_s: wall-clock seconds for one task.
    """
    waiting = deque(tasks)
    busy: list[_Worker[Task]] = []
    try:
        while waiting and len(busy) < workers:
            busy.append(_start(measure, waiting.popleft()))
        while busy:
            ready = wait([worker.connection for worker in busy], timeout=1.0)
            for worker in list(busy):
                if worker.connection in ready:
                    result = _received(worker)
                elif time.monotonic() - worker.started > limit_s:
                    result = Lost(f"took longer than {limit_s:g} s")
                else:
                    continue
                yield worker.task, result
                busy.remove(worker)
                if isinstance(result, Lost):
                    _end(worker)
                if waiting and isinstance(result, Lost):
                    busy.append(_start(measure, waiting.popleft()))
                elif waiting:
                    busy.append(_give(worker, waiting.popleft()))
                elif not isinstance(result, Lost):
                    _end(worker)
    finally:
        for worker in busy:
            _end(worker)


def _start(measure: Callable[[Task], Row], task: Task) -> _Worker[Task]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, measure), daemon=True)
    process.start()
    theirs.close()
    return _give(_Worker(process, ours, task, 0.0), task)


def _give(worker: _Worker[Task], task: Task) -> _Worker[Task]:
    worker.connection.send(task)
    return _Worker(worker.process, worker.connection, task, time.monotonic())


def _received(worker: _Worker[Any]) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        return Lost(f"its process ended with code {worker.process.exitcode}")


def _end(worker: _Worker[Any]) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _serve(connection: Connection, measure: Callable[[Any], Any]) -> None:
    try:
        while True:
            connection.send(measure(connection.recv()))
    except (EOFError, KeyboardInterrupt):
        return
