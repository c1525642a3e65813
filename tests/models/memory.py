"""The peak of this process's resident memory; not ``ru_maxrss``, which counts what its parent held at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

needs_peaks = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read from Linux' /proc"
)


def forget_peak() -> None:
    """Let the peak begin at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_kib() -> int:
    """Return the peak in KiB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
