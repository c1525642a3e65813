"""Whole models, original and rewritten in turn: timm's columns for inference and training, and how far the floor is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

import torch

from rewriter.bench.back_off import with_back_off
from rewriter.bench.floor import record_products
from rewriter.bench.interleaved import Call, Times, interleave, seconds
from rewriter.bench.memory import allocated_peak
from rewriter.bench.pair import Pair
from rewriter.bench.results import Row
from rewriter.bench.settings import Settings
from rewriter.bench.steps import inference_step, placed, placed_inputs, training_step
from rewriter.counting import count_parameters

Kind = Literal["infer", "train"]
STEPS: Final = {"infer": inference_step, "train": training_step}


def measure_models(
    pair: Pair, kind: Kind, settings: Settings, on_round: Callable[[str], None] | None = None
) -> list[Row]:
    """Measure both models of a pair in one run; on a lack of memory, again with a smaller batch.

    Each mode gives two rows, of the original and of the rewritten model, with timm's column names behind the prefix
    ``infer`` or ``train``: ``samples_per_sec``, ``step_time`` (median, ms), ``batch_size``, ``img_size``; then
    ``spread`` (quartile distance over median), ``ratio`` (to the original in the same rounds), ``first_call`` (s, what
    is compiled included), ``peak_memory`` (MB that torch allocates in a step), ``floor_time`` (ms, the same matrix
    products alone, in turn with the rest) and ``gflops`` (of one step).

    Args:
        pair: the models; they are moved to where the settings say, and training changes their weights.
        kind: what a step is.
        settings: how they run.
        on_round: called after every round with the name of the mode.

    Raises:
        UsageError: not even a batch of one fits into the memory.
    """
    threads = settings.use_threads()
    measure = partial(_measure, pair, kind, settings, on_round or (lambda mode: None))
    rows = with_back_off(measure, settings.batch_size)
    return [row | {"device": settings.device, "precision": settings.precision, "threads": threads} for row in rows]


def _measure(pair: Pair, kind: Kind, settings: Settings, on_round: Callable[[str], None], batch_size: int) -> list[Row]:
    rows = []
    for model in pair.variants.values():
        placed(model, settings)
    inputs = placed_inputs(pair.inputs, batch_size, settings)
    device = torch.device(settings.device)
    for mode in settings.modes:
        torch.compiler.reset()
        steps = {name: STEPS[kind](model, inputs, settings, mode) for name, model in pair.variants.items()}
        first = _first_calls(steps)
        peaks = {name: allocated_peak(step, device) for name, step in steps.items()}
        eager = {name: STEPS[kind](model, inputs, settings, "eager") for name, model in pair.variants.items()}
        floors = {name: record_products(step) for name, step in eager.items()}
        calls: dict[str, Call] = steps | {_floor(name): products for name, products in floors.items()}
        times = interleave(
            calls, settings.num_bench_iter, warmup=settings.num_warm_iter, on_round=partial(on_round, mode)
        )
        for name, model in pair.variants.items():
            columns = _columns(times[name], times["original"], times[_floor(name)], batch_size)
            columns |= {
                "first_call": round(first[name], 3),
                "peak_memory": round(peaks[name] / 1e6, 2),
                "gflops": round(floors[name].flops / 1e9, 3),
                "batch_size": batch_size,
                "img_size": pair.inputs[0].shape[-1],
            }
            row: Row = {"model": pair.name, "variant": name, "mode": mode}
            row |= {f"{kind}_{column}": value for column, value in columns.items()}
            rows.append(row | {"param_count": round(count_parameters(model) / 1e6, 2), "recipe": pair.recipe_hash})
    return rows


def _first_calls(steps: dict[str, Call]) -> dict[str, float]:
    # Kernels that an earlier run compiled would make the first call look fast.
    with torch._inductor.config.patch(force_disable_caches=True):
        return {name: seconds(step) for name, step in steps.items()}


def _columns(own: Times, original: Times, floor: Times, batch_size: int) -> Row:
    return {
        "samples_per_sec": round(1e3 * batch_size / own.median, 2),
        "step_time": round(own.median, 3),
        "spread": round(own.spread, 3),
        "ratio": round(own.ratio_to(original), 3),
        "floor_time": round(floor.median, 3),
        "to_floor": round(own.ratio_to(floor), 3),
    }


def _floor(name: str) -> str:
    return f"{name}, products"


def total_rounds(pairs: Sequence[Pair], settings: Settings) -> int:
    """Return how often `measure_models` calls ``on_round`` for so many pairs where memory suffices."""
    return len(pairs) * len(settings.modes) * (settings.num_warm_iter + settings.num_bench_iter)
