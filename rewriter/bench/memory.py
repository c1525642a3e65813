"""Peaks of memory: what a call allocates through torch, and what a process has resident."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

_MEASURED = "measured"
_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")


def allocated_peak(
    call: Callable[[], object], device: torch.device, *, setup: Callable[[], object] = lambda: None
) -> int:
    """Run a call once and return the most memory that torch's allocator held at once beyond what it held before.

    It counts bytes of tensors on ``device``, temporary ones inside operations included, and not what the allocator
    keeps for later; so it is the same in every run.

    Args:
        call: what is measured.
        device: whose memory counts.
        setup: run before; on the CPU, only what it makes is known to go away when the call frees it.
    """
    if device.type == "cuda":
        setup()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - allocated
    with _without_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        setup()
        with record_function(_MEASURED):
            call()
    found = profiler.profiler
    assert found is not None
    events = found.kineto_results.events()
    start = next(event.start_ns() for event in events if event.name() == _MEASURED)
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    before: int = sum(size for at, size in changes if at < start)
    held = peak = before
    for size in (size for at, size in changes if at >= start):
        held += size
        peak = max(peak, held)
    return peak - before


def resident() -> int | None:
    """Return how many bytes this process has resident now; None where the system does not tell."""
    return _read("VmRSS:")


def resident_peak() -> int | None:
    """Return the most bytes this process had resident since `forget_peak`, or its start; None where nobody tells."""
    return _read("VmHWM:")


def forget_peak() -> None:
    """Let the resident peak begin at what is resident now, where the system can."""
    with contextlib.suppress(OSError):
        _FORGET.write_text("5")


def _read(name: str) -> int | None:
    if not _STATUS.exists():
        return None
    return next(
        (1024 * int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(name)), None
    )


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what is written to stderr inside: the profiler logs its own start and stop there, past Python's streams."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
