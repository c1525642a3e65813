"""The benchmark of the stream measures what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import process_tree
from benchmarks.process_tree import run
from benchmarks.stream_checkpoint import make_checkpoint
from benchmarks.stream_table import markdown
from rewriter.checkpoints.reading import stored_tensors

MEGABYTE = 1 << 20


def test_the_checkpoint_is_sharded_finite_and_the_same_every_time(tmp_path: Path) -> None:
    sizes = [make_checkpoint(tmp_path / name, 0.03) for name in "ab"]
    one, other = (stored_tensors(tmp_path / name) for name in "ab")
    assert len(list((tmp_path / "a").glob("*.safetensors"))) > 1
    assert sizes[0] == sizes[1] == sum(stored.load().nbytes for stored in one.values())
    for key, stored in one.items():
        values = stored.load()
        assert torch.equal(values, other[key].load()), key
        assert torch.isfinite(values).all(), key


def test_the_memory_of_children_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kilobytes, seen = process_tree._kilobytes, tmp_path / "seen"

    def look(pid: int, file: str, name: str) -> int:
        found = kilobytes(pid, file, name)
        if file == "smaps_rollup" and found * 1024 > 300 * MEGABYTE:
            seen.touch()
        return found

    monkeypatch.setattr(process_tree, "_kilobytes", look)
    waiting = f"any(time.sleep(0.01) or os.path.exists({str(seen)!r}) for _ in range(6000))"
    child = f"import os, time; block = bytearray({300 * MEGABYTE}); {waiting}"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    ran = run([sys.executable, "-c", program])
    assert ran.code == 0
    assert 300 * MEGABYTE < ran.peak <= ran.bound < 400 * MEGABYTE


def test_a_killed_command_ends_by_the_signal() -> None:
    assert run([sys.executable, "-c", "import time; time.sleep(60)"], kill_after=0.2).code == -9


def test_the_page_has_every_row_and_says_when_a_result_differs() -> None:
    row = {
        "workers": 1,
        "cache": "cold",
        "seconds": 31.5,
        "copy_seconds": 12.5,
        "ratio": 2.52,
        "peak_gb": 1.1,
        "bound_gb": 1.2,
    }
    page = markdown(
        {
            "method": "hdfgd",
            "gigabytes": 8.0,
            "shards": 4,
            "resized_share": "60%",
            "copy_seconds": [12.5],
            "rows": [row],
            "kills": [{"workers": 2, "after_seconds": 3.0, "rerun_seconds": 9.0, "identical": False}],
            "plan_70b_seconds": 9.0,
            "plan_70b_peak_gb": 0.9,
            "environment": {"cores": "2"},
            "command": "python -m benchmarks.stream SCRATCH",
        }
    )
    assert "| 1 | cold | 31.5 | 12.5 | 2.52× | 1.1 | 1.2 |" in page
    assert "| 2 | 3.0 | 9.0 | **no** |" in page
