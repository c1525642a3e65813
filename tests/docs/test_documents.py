"""Every command and every piece of Python in the documents runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """List the code blocks of a language with the name of their document."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(path.name, block) for path in DOCUMENTS for block in fence.findall(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("document", "code"), blocks("python"))
def test_python_in_a_document_runs(document: str, code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{document}: {done.stderr}"


def continued() -> list[tuple[str, str, str]]:
    """List the blocks of commands, each with the Python behind it that goes on with its files, if there is any."""
    fence = re.compile(r"^```bash\n(.*?)^```(?:[^`]*^```python continued\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
    found = [(path.name, fence.findall(path.read_text(encoding="utf-8"))) for path in DOCUMENTS]
    return [(name, commands, code) for name, pairs in found for commands, code in pairs]


@pytest.mark.parametrize(("document", "commands", "code"), continued())
def test_commands_in_a_document_run(document: str, commands: str, code: str, tmp_path: Path) -> None:
    python = {"rewrite-model": [sys.executable, "-m", "rewriter.cli.main"], "python": [sys.executable]}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}  # where a reader of the benchmarks' commands stands
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        command = [*python[program], *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{document}: {line}: {done.stderr}"
    if code:
        test_python_in_a_document_runs(document, code, tmp_path)


def test_the_readme_is_short_enough_to_read() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_every_document_has_something_to_run() -> None:
    assert {name for name, _ in blocks("python")} >= {"README.md", "adding-a-method.md"}
    assert {name for name, _, code in continued() if code} >= {"README.md"}
