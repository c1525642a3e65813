"""Latency of original and rewritten models as they are deployed: every runner, in turn, at several thread counts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from export.targets import TARGETS
from rewriter.bench.first_run import Start, start_apart
from rewriter.bench.interleaved import Call, Times, interleave
from rewriter.bench.pair import Pair
from rewriter.bench.results import Row
from rewriter.bench.runners import IN_PYTHON, load_runner, target_of
from rewriter.bench.settings import Settings
from rewriter.bench.steps import placed, placed_inputs
from rewriter.counting import count_parameters
from rewriter.errors import RewriterError

_START_LIMIT_S = 900.0


@dataclass(frozen=True)
class Exports:
    """Files of both models, and why one is missing.

    Attributes:
        files: by variant and target.
        failures: the exporter's reason, by variant and target.
    """

    files: Mapping[tuple[str, str], Path]
    failures: Mapping[tuple[str, str], str]

    def file(self, variant: str, runner: str) -> Path | None:
        """Return the file that a runner needs; None for one that runs the model itself."""
        target = target_of(runner)
        return None if target is None else self.files[variant, target]

    def reason(self, variant: str, runner: str) -> str:
        """Return why a runner has no file; empty when it has, or needs none."""
        target = target_of(runner)
        return "" if target is None else self.failures.get((variant, target), "")


@contextmanager
def exported(pair: Pair, runners: Sequence[str]) -> Iterator[Exports]:
    """Export both models to the formats that the runners need, for as long as the context lasts."""
    targets = dict.fromkeys(target for runner in runners if (target := target_of(runner)) is not None)
    files: dict[tuple[str, str], Path] = {}
    failures: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant, model in pair.variants.items():
            for target in targets:
                path = Path(folder) / variant / TARGETS[target].filename
                path.parent.mkdir(exist_ok=True)
                try:
                    TARGETS[target].export(model, pair.inputs, path)
                    files[variant, target] = path
                except RewriterError as error:
                    failures[variant, target] = str(error)
        yield Exports(files, failures)


def measure_latency(
    pair: Pair,
    exports: Exports,
    runners: Sequence[str],
    settings: Settings,
    on_round: Callable[[], None] | None = None,
) -> list[Row]:
    """Time both models with every runner in turn.

    Each runner gives two rows, with timm's column names: ``infer_samples_per_sec``, ``infer_step_time`` (median, ms),
    ``infer_batch_size``, ``infer_img_size``, ``param_count`` (millions); then the percentiles ``p50``, ``p90`` and
    ``p99`` (ms) and the ``ratio`` to the original with the same runner in the same rounds. A runner that an exporter
    leaves without a file gives the reason in ``error``.
    """
    threads = settings.use_threads()
    torch.compiler.reset()  # what is compiled keeps the number of threads
    calls = {
        (runner, variant): _call(pair, exports, runner, variant, settings, threads)
        for runner in runners
        for variant in pair.variants
        if not exports.reason(variant, runner)
    }
    named = {f"{runner} {variant}": made for (runner, variant), made in calls.items()}
    times = interleave(named, settings.num_bench_iter, warmup=settings.num_warm_iter, on_round=on_round)
    rows = []
    for runner in runners:
        for variant in pair.variants:
            row = _facts(pair, variant, runner, threads) | {"infer_batch_size": settings.batch_size}
            row |= {"infer_img_size": pair.inputs[0].shape[-1]}
            own, original = (times.get(f"{runner} {name}") for name in (variant, "original"))
            row |= _columns(own, original, settings.batch_size) | {"error": exports.reason(variant, runner)}
            rows.append(row)
    return rows


def measure_starts(
    pair: Pair,
    exports: Exports,
    runners: Sequence[str],
    settings: Settings,
    on_start: Callable[[], None] | None = None,
) -> list[Row]:
    """Start both models with every runner, each in a process of its own.

    Rows have ``load`` and ``first_call`` (s) and ``peak_memory`` (resident MB beyond what the process had before).
    """
    rows = []
    for runner in runners:
        for variant in pair.variants:
            row = _facts(pair, variant, runner, settings.threads or torch.get_num_threads())
            error = exports.reason(variant, runner)
            if not error:
                recipe = pair.recipe.model_dump_json() if variant == "rewritten" else None
                file = exports.file(variant, runner)
                own = settings if runner in IN_PYTHON else replace(settings, device="cpu")
                found = start_apart(Start(pair.spec, recipe, runner, file, pair.inputs, own), _START_LIMIT_S)
                error = found.error
                if not error:
                    row |= {"load": round(found.load, 3), "first_call": round(found.first_call, 3)}
                    row["peak_memory"] = None if found.peak_memory is None else round(found.peak_memory / 1e6, 1)
            rows.append(row | {"error": error})
            if on_start is not None:
                on_start()
    return rows


def _call(pair: Pair, exports: Exports, runner: str, variant: str, settings: Settings, threads: int) -> Call:
    in_python = runner in IN_PYTHON
    own = settings if in_python else replace(settings, device="cpu")
    model = placed(pair.variants[variant], own) if in_python else None
    run = load_runner(runner, model, exports.file(variant, runner), threads)
    return partial(run, placed_inputs(pair.inputs, settings.batch_size, own))


def _columns(own: Times | None, original: Times | None, batch_size: int) -> Row:
    if own is None:
        return {}
    return {
        "infer_samples_per_sec": round(1e3 * batch_size / own.median, 2),
        "infer_step_time": round(own.median, 3),
        **{f"p{percent}": round(own.percentile(percent), 3) for percent in (50, 90, 99)},
        "ratio": None if original is None else round(own.ratio_to(original), 3),
    }


def _facts(pair: Pair, variant: str, runner: str, threads: int) -> Row:
    return {
        "model": pair.name,
        "width": str(pair.recipe.options["width"]),
        "runner": runner,
        "threads": threads,
        "variant": variant,
        "param_count": round(count_parameters(pair.variants[variant]) / 1e6, 2),
        "recipe": pair.recipe_hash,
    }
