"""The packages are layers: evaluation, kernels, functions; each can be what a program imports first."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["passes.evaluation.table", "passes.kernels.packed", "passes.functions.library"])
def test_a_module_can_be_imported_first(module: str) -> None:
    found = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
