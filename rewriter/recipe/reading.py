"""Reading the file of a recipe: how large it may be, that it is JSON, and which version of the schema it follows."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rewriter.checkpoints.json_object import LARGEST, parse_object
from rewriter.errors import UsageError

_VERSIONED: Final = re.compile(r"(?P<family>network-rewriter/recipe/)(?P<version>\d{1,9})")


def recipe_content(path: Path, known: Sequence[str]) -> bytes:
    """Read the bytes of a JSON object that says it follows a version of the recipe's schema.

    Args:
        path: the file.
        known: the versions that are read, such as ``"network-rewriter/recipe/1"``, the newest last.

    Raises:
        UsageError: the file is missing, too large, no JSON object, has a key twice, or follows another version.
    """
    expected = known[-1]
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        given = parse_object(content).get("format", expected)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"the file: {textwrap.shorten(str(error), 200)}"
        raise not_a_recipe(path, expected, reason, "name a folder that `rewrite-model apply` wrote") from error
    if given not in known:
        raise not_a_recipe(path, expected, f"format: {str(given)[:80]!r}", _remedy(given, expected))
    return content


def not_a_recipe(path: Path, expected: str, found: str, remedy: str) -> UsageError:
    """Make the error for a file that is no recipe of a version."""
    return UsageError(expected=f"a recipe of format {expected} in {path}", found=found, remedy=remedy)


def _remedy(given: object, expected: str) -> str:
    theirs, ours = _VERSIONED.fullmatch(str(given)), _VERSIONED.fullmatch(expected)
    if theirs is None or ours is None:
        return "name a folder that `rewrite-model apply` wrote"
    if int(theirs["version"]) > int(ours["version"]):
        return "update network-rewriter: a later version wrote this"
    return "run `rewrite-model apply` again: an earlier version wrote this"
