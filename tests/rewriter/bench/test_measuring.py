"""Times, memory and the floor: what a measurement says is what happened."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rewriter.bench.back_off import with_back_off
from rewriter.bench.floor import record_products
from rewriter.bench.growth import exponent
from rewriter.bench.interleaved import Times, interleave
from rewriter.bench.memory import allocated_peak, forget_peak, resident, resident_peak
from rewriter.bench.roofline import Roofline
from rewriter.errors import UsageError

CPU = torch.device("cpu")


def test_calls_run_in_turn_and_warm_up_is_not_measured() -> None:
    order: list[str] = []
    times = interleave({name: lambda name=name: order.append(name) for name in "ab"}, 3, warmup=2)
    assert order == ["a", "b"] * 5
    assert [len(found.milliseconds) for found in times.values()] == [3, 3]


def test_a_call_takes_at_least_as_long_as_it_sleeps() -> None:
    times = interleave({"slow": lambda: time.sleep(0.02)}, 3)
    assert times["slow"].median >= 20


def test_percentiles_are_those_of_numpy() -> None:
    values = tuple(float(value) for value in np.random.default_rng(0).exponential(size=23))
    times = Times(values)
    for percent in (0, 25, 50, 90, 99, 100):
        assert times.percentile(percent) == pytest.approx(np.percentile(values, percent))
    assert times.spread == pytest.approx((np.percentile(values, 75) - np.percentile(values, 25)) / np.median(values))


def test_ratios_compare_the_same_rounds() -> None:
    # The machine gets slower and slower; in each round one takes twice as long as the other.
    assert Times((2.0, 20.0, 200.0)).ratio_to(Times((1.0, 10.0, 100.0))) == 2.0


def test_the_allocated_peak_counts_temporaries_and_not_what_was_there() -> None:
    there = torch.ones(1 << 16)

    def call() -> None:
        first = there + 1  # 256 KiB
        second = first + 1
        del first
        third = second + 1
        del second, third

    assert allocated_peak(call, CPU) == pytest.approx(2 * there.nbytes, rel=0.01)


def test_what_setup_made_makes_room_when_the_call_frees_it() -> None:
    held: list[torch.Tensor] = []

    def call() -> None:
        held.clear()
        held.append(torch.ones(1 << 16))

    assert allocated_peak(call, CPU, setup=lambda: held.append(torch.ones(1 << 16))) < 1 << 12


def test_memory_that_was_freed_again_stays_in_the_resident_peak() -> None:
    before = resident()
    if before is None:
        pytest.skip("the system does not tell")
    forget_peak()
    block = np.ones(64 << 20, dtype=np.uint8)
    del block
    peak = resident_peak()
    assert peak is not None
    assert peak - before > 48 << 20


def test_the_floor_of_an_mlp_is_its_products_forward_and_backward() -> None:
    mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
    x = torch.randn(5, 8, requires_grad=True)
    products = record_products(lambda: mlp(x).sum().backward())
    assert len(products) == 2 + 4
    assert products.flops == 3 * 2 * 5 * (8 * 32 + 32 * 8)
    again = record_products(products)
    assert (len(again), again.flops) == (len(products), products.flops)


def test_attention_counts_on_the_cpu_as_it_does_as_two_products() -> None:
    q = torch.randn(1, 2, 16, 8)
    with torch.no_grad():
        fused = record_products(lambda: F.scaled_dot_product_attention(q, q, q))
        apart = record_products(lambda: (q @ q.transpose(-1, -2)).softmax(-1) @ q)
    assert fused.flops == apart.flops > 0


def test_the_bytes_of_a_product_are_its_operands_and_its_result() -> None:
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    assert record_products(lambda: a @ b).moved == 4 * (12 + 20 + 15)
    out = torch.empty(3, 5)
    assert record_products(lambda: torch.mm(a, b, out=out)).moved == 4 * (12 + 20 + 15)


def test_the_roofline_is_the_slower_of_memory_and_arithmetic() -> None:
    roofline = Roofline(bandwidth=1e9, flops=1e10)
    assert roofline.milliseconds(flops=10**7, moved=10) == pytest.approx(1.0)
    assert roofline.milliseconds(flops=10, moved=10**6) == pytest.approx(1.0)


def test_the_exponent_of_a_power_law_is_found() -> None:
    assert exponent([(size, 3.0 * size**1.5) for size in (2, 5, 17, 64)]) == pytest.approx(1.5)
    with pytest.raises(UsageError, match="at least two sizes"):
        exponent([(2, 1.0), (2, 3.0)])


def test_a_lack_of_memory_makes_the_batch_smaller_and_other_errors_do_not() -> None:
    tried: list[int] = []

    def measure(batch_size: int) -> int:
        tried.append(batch_size)
        if batch_size > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch_size

    assert with_back_off(measure, 16) <= 5
    assert tried[0] == 16
    assert tried == sorted(tried, reverse=True)

    def broken(batch_size: int) -> int:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        with_back_off(broken, 16)


def test_a_model_that_never_fits_is_an_error_of_use() -> None:
    def measure(batch_size: int) -> int:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    with pytest.raises(UsageError, match="batch of one"):
        with_back_off(measure, 4)
