"""A small rewritten model in a folder, data for it, and the command line in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

import rewriter
from rewriter.cli.opening import record_of
from rewriter.demo.digits import write_arrays
from rewriter.sources.source import load_source

REPOSITORY = Path(__file__).resolve().parents[3]
MODELS = "py:tests.models.small_classifier"


def write_folders(parent: Path, *names: str, factory: str = "small_classifier", method: str = "swap") -> list[Path]:
    """Write the same rewritten model into folders, with the digits in ``data`` beside them."""
    if not (parent / "data").exists():
        write_arrays(parent / "data")
    source = load_source(f"{MODELS}:{factory}")
    recipe = rewriter.plan(source.model, method, source=record_of(source, None))
    result = rewriter.apply(source.model, recipe)
    return [rewriter.save(result, parent / name) for name in names]


def start(folder: Path, *arguments: object, processes: int = 1, **environment: str) -> subprocess.Popen[str]:
    """Start ``rewrite-model finetune`` on a folder beside it, with ``torchrun`` where there are several processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads()) if processes == 1 else "1"}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "rewriter.cli.main", "finetune", str(folder), *map(str, arguments)],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **threads, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(folder: Path) -> dict[str, Tensor]:
    """Read the weights in a folder."""
    return load_file(folder / "model.safetensors")


def content(folder: Path) -> dict[str, bytes]:
    """Read all files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
