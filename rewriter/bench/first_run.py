"""What it takes to start: a fresh process loads a model, runs it for the first time, and tells seconds and memory."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from rewriter.bench.interleaved import seconds
from rewriter.bench.isolation import Lost, measure_apart
from rewriter.bench.memory import forget_peak, resident, resident_peak
from rewriter.bench.runners import IN_PYTHON, load_runner
from rewriter.bench.settings import Settings
from rewriter.bench.steps import placed, placed_inputs
from rewriter.doors import apply
from rewriter.recipe import Recipe
from rewriter.sources.inputs import InputSpec
from rewriter.sources.source import load_source

_CALLS = 3


@dataclass(frozen=True)
class Start:
    """One model and one runner, as a process of its own can make them again.

    Attributes:
        spec: the source.
        recipe: of the rewritten model as JSON; None for the original.
        runner: its name.
        file: the export that the runner needs.
        inputs: what the model takes.
        settings: how it runs.
    """

    spec: str
    recipe: str | None
    runner: str
    file: Path | None
    inputs: tuple[InputSpec, ...]
    settings: Settings


@dataclass(frozen=True)
class Started:
    """What a start took.

    Attributes:
        load: seconds to open the export; of a model in Python, none.
        first_call: seconds of the first call, in which ``torch.compile`` compiles.
        peak_memory: the most bytes that the process had resident in a few calls beyond what it had before the model
            was loaded; None where the system does not tell.
        error: why there is nothing; empty when there is.
    """

    load: float = 0.0
    first_call: float = 0.0
    peak_memory: int | None = None
    error: str = ""


def start_apart(start: Start, limit_s: float) -> Started:
    """Start a model in a new process."""
    ((_, found),) = measure_apart([start], measure_start, workers=1, limit_s=limit_s)
    return Started(error=found.reason) if isinstance(found, Lost) else found


def measure_start(start: Start) -> Started:
    """Start a model in this process; the weights are random where the source has none, which takes the same time."""
    warnings.simplefilter("ignore")
    try:
        return _measure(start)
    except Exception as error:  # whatever a model or a runtime raises costs this row only
        return Started(error=" ".join(f"{type(error).__name__}: {error}".split())[:300])


def _measure(start: Start) -> Started:
    threads = start.settings.use_threads()
    inputs = placed_inputs(start.inputs, start.settings.batch_size, start.settings)
    before = resident()
    model = None
    if start.runner in IN_PYTHON:
        model = load_source(start.spec, trained=False).model
        if start.recipe is not None:
            model = apply(model, Recipe.model_validate_json(start.recipe), inplace=True).model
        placed(model, start.settings)
    forget_peak()
    loaded = []
    load = seconds(lambda: loaded.append(load_runner(start.runner, model, start.file, threads)))
    (run,) = loaded
    # Kernels that an earlier process compiled would make the first call look fast.
    with torch._inductor.config.patch(force_disable_caches=True):
        first = seconds(lambda: run(inputs))
    for _ in range(_CALLS):
        run(inputs)
    peak = resident_peak()
    return Started(load, first, None if peak is None or before is None else max(0, peak - before))
