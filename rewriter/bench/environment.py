"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from passes.kernels.c_library import compiler


def environment() -> dict[str, str]:
    """Return the versions, the processor, the accelerator where there is one, the compiler and the date, by name."""
    facts = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu": _processor(),
        "cores": str(os.cpu_count()),
        "compiler of functions": compiler(),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts | {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
