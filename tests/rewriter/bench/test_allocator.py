"""The allocator while something is timed: large tensors reuse memory, and afterwards it goes back to the system."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from rewriter.bench.allocator import freed_memory_kept

BYTES = 1 << 26  # beyond what glibc ever keeps by itself


def page_faults_of_another_tensor() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(BYTES, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_a_large_tensor_gets_the_memory_of_the_one_before_it() -> None:
    usual = page_faults_of_another_tensor()
    with freed_memory_kept() as kept:
        if not kept:
            pytest.skip("not glibc")
        page_faults_of_another_tensor()
        again = page_faults_of_another_tensor()
    assert again < usual / 10


def test_afterwards_memory_is_given_back_as_usual() -> None:
    with freed_memory_kept() as kept:
        if not kept:
            pytest.skip("not glibc")
        torch.empty(BYTES, dtype=torch.uint8).fill_(1)
        held = resident()
    assert resident() < held - BYTES // 2
    assert page_faults_of_another_tensor() > 10
