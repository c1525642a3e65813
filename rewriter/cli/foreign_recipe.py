"""What the recipe of a folder may have run: a folder from elsewhere must not bring its own code."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from rewriter.errors import CheckpointError
from rewriter.sources.spec import parse_spec


def require_foreign_harmless(text: str, directory: Path) -> None:
    """Check that a source which a recipe names is no code that came with the recipe, nor a function of Python itself.

    A ``py:`` source calls a function of the user's own code: of an importable package or of the current directory.

    Args:
        text: the source.
        directory: the folder with the recipe.

    Raises:
        UsageError: the source is malformed.
        CheckpointError: its code lies in the folder, or is Python's own, which makes no models.
    """
    spec = parse_spec(text)
    if spec.scheme != "py":
        return
    package = spec.name.partition(":")[0].partition(".")[0]
    if package in sys.stdlib_module_names:
        raise _refused(f"{text!r}, a function of Python's own")
    found = PathFinder.find_spec(package, [os.getcwd(), *sys.path])  # imports nothing
    places = [] if found is None else [found.origin, *(found.submodule_search_locations or [])]
    folder = directory.resolve()
    if any(folder in Path(place).resolve().parents for place in places if place):
        raise _refused(f"{text!r}, which lies in {str(directory)!r} itself")


def _refused(found: str) -> CheckpointError:
    return CheckpointError(
        expected="a recipe whose source is a library's model or your own code",
        found=found,
        remedy="read that code, and copy it out of the folder if you trust it",
    )
