"""One block in one mode and direction: its time beside the MLP's, its own products', and a textbook's."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from benchmarks.block_subjects import Block, block_step
from rewriter.bench.floor import Products, record_products
from rewriter.bench.interleaved import Call, interleave, seconds
from rewriter.bench.memory import allocated_peak
from rewriter.bench.results import Row
from rewriter.bench.roofline import Roofline
from rewriter.bench.settings import Settings
from rewriter.bench.steps import ready

DIRECTIONS: Final = {"forward": False, "forward+backward": True}


def measure_block(block: Block, tokens: int, settings: Settings, mode: str, direction: str, roofline: Roofline) -> Row:
    """Measure the MLP, the block, the block's matrix products and the textbook's block in turn.

    Times are medians in ms, ratios medians of the rounds' ratios, memory is what torch allocates in a step in MB. The
    products always run eagerly. ``moved`` are the MB that the block must move: each product's operands and result once,
    and what `combine_traffic` says; ``roofline`` is the least time for that and the operations on this machine.
    """
    backward, device = DIRECTIONS[direction], torch.device(settings.device)
    features = next(block.mlp.parameters()).shape[1]

    def step(module: nn.Module) -> Call:
        return block_step(module, tokens, features, settings, backward)

    torch.compiler.reset()
    modules = {"mlp": block.mlp, "block": block.rewritten}
    modules |= {"textbook": block.textbook} if block.textbook is not None else {}
    calls = {name: step(ready(module, mode)) for name, module in modules.items()}
    with torch._inductor.config.patch(force_disable_caches=True):  # else it measures how fast files are read
        first = {name: seconds(call) for name, call in calls.items()}
    peaks = {name: allocated_peak(call, device) for name, call in calls.items()}
    products = record_products(step(block.rewritten))
    calls["products"] = products
    times = interleave(calls, settings.num_bench_iter, warmup=settings.num_warm_iter)
    moved = products.moved + combine_traffic(block, tokens, settings, backward)
    row: Row = {"block": block.name, "activation": block.activation, "hidden": block.hidden}
    row |= {"mode": mode, "direction": direction}
    row |= {f"{name}_ms": round(found.median, 3) for name, found in times.items()}
    row |= {"spread": round(times["block"].spread, 3)}
    row |= {f"to_{name}": round(times["block"].ratio_to(times[name]), 3) for name in times if name != "block"}
    row |= {f"{name}_peak": round(peaks[name] / 1e6, 2) for name in modules}
    row |= {"peak_ratio": round(peaks["block"] / peaks["mlp"], 3), "first_call_s": round(first["block"], 3)}
    return row | _floor(products, moved, roofline)


def combine_traffic(block: Block, tokens: int, settings: Settings, backward: bool) -> int:
    """Return the bytes that the combine must move.

    Forward it reads n·h values for each token and writes h; backward it reads these n·h and the gradients of its h
    results, and writes n·h gradients. What it could save beside its input is not among them.
    """
    dtype = torch.bfloat16 if settings.precision == "amp" else settings.dtype
    values = block.hidden * ((block.branches + 1) + (2 * block.branches + 1) * backward)
    return tokens * values * dtype.itemsize


def measure_combine(block: Block, tokens: int, settings: Settings, mode: str, roofline: Roofline) -> Row:
    """Measure the combine alone, forward, and the share of the memory bandwidth that it reaches."""
    torch.compiler.reset()
    packed = block.branches * block.hidden
    call = block_step(ready(block.combine, mode), tokens, packed, settings, backward=False)
    times = interleave({"combine": call}, settings.num_bench_iter, warmup=settings.num_warm_iter)["combine"]
    moved = combine_traffic(block, tokens, settings, backward=False)
    return {
        "block": block.name,
        "mode": mode,
        "combine_ms": round(times.median, 3),
        "moved": round(moved / 1e6, 2),
        "of_bandwidth": round(moved / (times.median / 1e3) / roofline.bandwidth, 3),
    }


def _floor(products: Products, moved: int, roofline: Roofline) -> Row:
    return {
        "gflops": round(products.flops / 1e9, 3),
        "moved": round(moved / 1e6, 2),
        "roofline_ms": round(roofline.milliseconds(products.flops, moved), 3),
    }
