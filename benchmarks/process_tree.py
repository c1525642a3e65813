"""The peak memory of a command and all processes it starts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.25  # seconds


@dataclass(frozen=True)
class Ran:
    """What a command did.

    Attributes:
        code: its exit code; negative for a signal.
        seconds: from start to end.
        peak: the most memory that all its processes had resident at once, in bytes, pages that they share once.
        bound: sum over its processes of the most that each had resident at any time: the peak cannot have been higher.
        error: the end of what it wrote to stderr.
    """

    code: int
    seconds: float
    peak: int
    bound: int
    error: str


def run(command: Sequence[str], *, kill_after: float | None = None) -> Ran:
    """Run a command and watch its processes.

    Args:
        command: program and arguments.
        kill_after: seconds after which its first process gets SIGKILL.
    """
    start = time.perf_counter()
    peak, peaks = 0, dict[int, int]()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            tree = _tree(process.pid)
            peaks |= {pid: max(peaks.get(pid, 0), _kilobytes(pid, "status", "VmHWM:")) for pid in tree}
            peak = max(peak, sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in tree))
            if kill_after is not None and time.perf_counter() - start >= kill_after:
                process.kill()
            time.sleep(_EVERY)
        seconds = time.perf_counter() - start
        error = process.stderr.read() if process.stderr is not None and kill_after is None else ""
    return Ran(process.returncode, seconds, peak * 1024, sum(peaks.values()) * 1024, error[-2000:])


def timed(call: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _tree(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:  # it ended
                continue
    return found


def _kilobytes(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:  # it ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
