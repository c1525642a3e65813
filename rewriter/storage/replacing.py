"""Replacing the folder of a rewritten model by a newer one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace_folder(directory: Path, new: Path) -> None:
    """Put a finished folder in the place of another, which is removed.

    Args:
        directory: the folder to replace.
        new: a folder beside it, complete.
    """
    old = _old(directory)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(directory, old)
    try:
        os.rename(new, directory)
    except BaseException:
        os.rename(old, directory)
        raise
    shutil.rmtree(old)


def finish_replacing(directory: Path) -> None:
    """Put a folder back whose replacing was killed between its two steps; else do nothing."""
    old = _old(directory)
    if old.is_dir() and not directory.exists():
        os.rename(old, directory)


def _old(directory: Path) -> Path:
    return directory.absolute().parent / f".{directory.name}-replaced"
