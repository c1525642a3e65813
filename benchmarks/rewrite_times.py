"""How long `plan` and `apply` take on one model, and how much memory `apply` needs."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import nn

import rewriter
from rewriter.bench.interleaved import seconds
from rewriter.bench.memory import allocated_peak
from rewriter.bench.results import Row
from rewriter.counting import count_parameters
from rewriter.recipe import Recipe
from rewriter.sources.source import load_source


def without_values(source: str) -> nn.Module:
    """Build a model whose weights have memory but were never drawn, which would take longer than the rewrite."""
    with torch.device("meta"):
        model = load_source(source).model
    return model.to_empty(device="cpu")


def measure_rewrite(source: str, method: str, rounds: int) -> Row:
    """Plan, apply in place, and initialise as many new weights with torch, in turn, each round on a fresh model.

    Times are medians in s; ``apply_to_init`` is the median of the rounds' ratios. ``peak`` is the most memory that
    `apply` held at once above the model, in MB, and ``largest_site`` the new weights of the largest site.
    """
    model = without_values(source)
    recipe = rewriter.plan(model, method)
    graphs = rewriter.capture(model).graphs
    row: Row = {"model": source, "method": method, "parameters": count_parameters(model)}
    row |= {"nodes": sum(len(graph.graph.nodes) for graph in graphs), "sites": len(recipe.sites)}
    row["new_weights"] = sum(record.parameters_after for record in recipe.linears)
    del model, graphs
    times: list[tuple[float, float, float]] = []
    for _ in range(rounds + 1):
        fresh = without_values(source)
        gc.collect()
        planned = seconds(partial(rewriter.plan, fresh, method))
        applied = seconds(partial(rewriter.apply, fresh, recipe, inplace=True))
        times.append((planned, applied, seconds(lambda: initialise(recipe))))
        del fresh
    measured = times[1:]
    row |= {f"{name}_s": round(median(t[i] for t in measured), 4) for i, name in enumerate(("plan", "apply", "init"))}
    row["apply_to_init"] = round(median(applied / init for _, applied, init in measured), 3)
    row["ms_per_node"] = round(1e3 * median(t[0] + t[1] for t in measured) / int(row["nodes"] or 1), 4)
    peak, size = apply_peak(lambda: without_values(source), recipe)
    largest = largest_site(recipe) * size
    row |= {"peak": round(peak / 1e6, 3), "largest_site": round(largest / 1e6, 3)}
    return row | {"peak_to_site": round(peak / largest, 3) if largest else None}


def apply_peak(make: Callable[[], nn.Module], recipe: Recipe) -> tuple[int, int]:
    """Return the most bytes that `apply` in place holds at once above the model, and those of one weight.

    Args:
        make: builds the model that the recipe is for.
        recipe: what is applied.
    """
    models: list[nn.Module] = []

    def call() -> None:
        rewriter.apply(models[0], recipe, inplace=True)

    peak = allocated_peak(call, torch.device("cpu"), setup=lambda: models.append(make()))
    return peak, next(models[0].parameters()).element_size()


def initialise(recipe: Recipe) -> list[nn.Module]:
    """Make the new linears of a recipe as torch makes and draws them; they are all held at once."""
    return [nn.Linear(record.after[0] * record.taps, record.after[1], bias=record.bias) for record in recipe.linears]


def largest_site(recipe: Recipe) -> int:
    """Return the most new parameters that the layers of one chain of MLPs have."""
    sizes: Counter[str] = Counter()
    for site in recipe.sites:
        sizes[site.chain] += site.parameters_after
    return max(sizes.values())
