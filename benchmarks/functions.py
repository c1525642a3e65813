"""Forward and backward time of every adversarial function and split layer, against ``F.gelu``, on the CPU.

``python -m benchmarks.functions --output benchmarks/results`` writes ``functions.json`` and ``functions.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.functions_table import markdown, rich_table
from benchmarks.interleaved import against
from passes.functions import activation_names, adversarial, decomposition, decomposition_names
from passes.layers import SplitActivation, SplitAdversarial
from rewriter.bench.environment import environment
from rewriter.bench.interleaved import Call

_WIDTH = 256


@dataclass(frozen=True)
class Subject:
    """One function to measure.

    Attributes:
        kind: how it is computed.
        module: the function.
        branches: how many packed branches it takes.
    """

    kind: str
    module: nn.Module
    branches: int = 1


def subjects(only: list[str]) -> dict[str, Subject]:
    """Return what is measured: g of every activation with α = 1, then F and A of every decomposition.

    Args:
        only: keep the names that contain one of these; all, if there are none.
    """
    makers: dict[str, Callable[[], Subject]] = {f"g {name}": partial(_adversarial, name) for name in activation_names()}
    for name in decomposition_names():
        makers[f"F {name}"] = partial(_layer, SplitActivation, name)
        makers[f"A {name}"] = partial(_layer, SplitAdversarial, name)
    return {name: make() for name, make in makers.items() if not only or any(part in name for part in only)}


def _adversarial(name: str) -> Subject:
    g = adversarial(name, 1.0)
    return Subject(g.kind, g)


def _layer(make: Callable[..., nn.Module], name: str) -> Subject:
    found = decomposition(name)
    return Subject("layer", make(found, dim=1), found.terms)


def step(function: Callable[[Tensor], Tensor], elements: int, branches: int = 1) -> Call:
    """Return a call of ``function``, forward and backward, on that many normal float32 numbers in all."""
    width = _WIDTH * branches
    points = torch.randn(max(1, elements // width), width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    upstream = torch.ones(points.shape[0], _WIDTH)

    def call() -> Tensor:
        (gradient,) = torch.autograd.grad(function(points), points, upstream)
        return gradient

    return call


def saved_inputs(module: nn.Module, branches: int) -> float:
    """Return the memory kept for the backward pass, in units of the input's size; storages are counted once."""
    points = torch.randn(64, _WIDTH * branches).requires_grad_()
    storages: dict[int, int] = {}

    def pack(kept: Tensor) -> Tensor:
        storages[kept.untyped_storage().data_ptr()] = kept.untyped_storage().nbytes()
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        result = module(points)
    del result
    return sum(storages.values()) / points.untyped_storage().nbytes()


def measure(only: list[str], elements: int, threads: int, rounds: int, compiled: bool) -> list[dict[str, object]]:
    """Return one row for each subject that :func:`subjects` chooses."""
    torch.set_num_threads(threads)
    chosen = subjects(only)

    def prepared(module: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return torch.compile(module, fullgraph=True, dynamic=False) if compiled else module

    torch.compiler.reset()
    # All functions run through the same few lines of code, and each is compiled for itself.
    with torch._dynamo.config.patch(recompile_limit=len(chosen) + 8):
        calls = {name: step(prepared(one.module), elements, one.branches) for name, one in chosen.items()}
        timings = against(step(prepared(functional.gelu), elements), calls, rounds)
    return [
        {
            "function": name,
            "kind": chosen[name].kind,
            "mode": "compiled" if compiled else "eager",
            "threads": threads,
            "milliseconds": round(timing.milliseconds, 2),
            "ratio": round(timing.ratio, 3),
            "saved_inputs": round(saved_inputs(chosen[name].module, chosen[name].branches), 3),
        }
        for name, timing in timings.items()
    ]


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for functions.json and functions.md.")] = None,
    elements: Annotated[int, typer.Option(help="Numbers in the input, float32.")] = 10**7,
    rounds: Annotated[int, typer.Option(help="Interleaved repetitions; medians are reported.")] = 7,
    threads: Annotated[list[int], typer.Option(help="Thread counts.")] = [1, 2],  # noqa: B006
    compiled: Annotated[bool, typer.Option(help="Measure torch.compile, too.")] = True,
    only: Annotated[list[str], typer.Option(help="Measure functions whose name contains this.")] = [],  # noqa: B006
) -> None:
    """Measure, print a table, and write the results."""
    rows = []
    for mode in (False, True) if compiled else (False,):
        for count in threads:
            rows += measure(only, elements, count, rounds, mode)
    facts = {**environment(), "elements": str(elements), "rounds": str(rounds), "reference": "F.gelu in the same mode"}
    Console().print(rich_table(rows))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "functions.json").write_text(json.dumps({"environment": facts, "rows": rows}, indent=1) + "\n")
        (output / "functions.md").write_text(markdown(rows, facts))


if __name__ == "__main__":
    typer.run(main)
