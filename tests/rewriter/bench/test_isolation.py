"""Measuring apart: what happens to one task does not happen to another."""

from __future__ import annotations

from itertools import chain, repeat
from types import SimpleNamespace

import pytest

from rewriter.bench import isolation
from rewriter.bench.isolation import Lost, measure_apart

DIES = "__import__('os')._exit(3)"
HANGS = "__import__('time').sleep(600)"


def test_every_task_is_measured_once() -> None:
    tasks = [f"{number} * 2" for number in range(5)]
    assert sorted(measure_apart(tasks, eval, workers=2, limit_s=600.0)) == [(task, eval(task)) for task in tasks]


def test_a_process_that_dies_loses_its_own_task_only() -> None:
    found = dict(measure_apart(["1", DIES, "2", "3"], eval, workers=1, limit_s=600.0))
    assert found == {"1": 1, DIES: Lost("its process ended with code 3"), "2": 2, "3": 3}


def test_a_task_beyond_the_limit_is_lost_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = chain([0.0], repeat(21.0))  # the first task has begun; the limit is over at once, and time stands still
    monkeypatch.setattr(isolation, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    found = dict(measure_apart([HANGS, "2"], eval, workers=1, limit_s=20.0))
    assert found == {HANGS: Lost("took longer than 20 s"), "2": 2}
