"""Reading a JSON object that somebody else wrote: its size is limited and no key may come twice."""

from __future__ import annotations

import json
from typing import Any

LARGEST = 100_000_000  # bytes; the limit that the safetensors format sets to its headers


def parse_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: it is too large or too deep, no JSON, no object, or has a key twice.
    """
    if len(content) > LARGEST:
        raise ValueError(f"{len(content)} bytes of JSON, more than {LARGEST}")
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_without_repetition)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("JSON that is no object")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} twice")
        found[key] = value
    return found
