"""The allocator while something is timed: large tensors reuse memory, and afterwards they no longer do.

A process of its own shows it: in one that has run much, the C library may have given the thread another arena, of which
no block can be as large.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

BYTES = 1 << 26  # beyond what glibc ever keeps by itself

SCRIPT = f"""
import json, resource
import torch
from rewriter.bench.allocator import freed_memory_kept

def faults(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(size, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults({BYTES})
with freed_memory_kept() as kept:
    again = min(faults({BYTES}) for _ in range(6))  # now and then a small object comes to lie in the way
afterwards = min(faults({8 * BYTES}) for _ in range(3))  # larger than what may have stayed
print(json.dumps({{"kept": kept, "usual": usual, "again": again, "afterwards": afterwards}}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of Linux")
def test_a_large_tensor_gets_the_memory_of_the_one_before_it_and_afterwards_all_is_as_usual() -> None:
    found = json.loads(
        subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True).stdout
    )
    if not found["kept"]:
        pytest.skip("not glibc")
    assert found["again"] < found["usual"] / 10
    assert found["afterwards"] > max(found["again"], 100)
