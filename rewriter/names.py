"""Looking a user's word up in a list of known names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from rewriter.errors import UsageError

_LISTED = 24


def require_known(name: str, known: Iterable[str], what: str) -> str:
    """Return ``name`` if it is one of ``known``.

    Args:
        name: what the user wrote.
        known: the names that exist.
        what: the noun for the message, such as ``"method"``.

    Raises:
        UsageError: naming the nearest known name, or the first of them when none is near.
    """
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        remedy = f"did you mean {near[0]!r}?"
    else:
        rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        remedy = f"choose one of {', '.join(names[:_LISTED])}{rest}"
    raise UsageError(expected=f"a known {what}", found=f"{name!r}", remedy=remedy)
