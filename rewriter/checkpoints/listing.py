"""Naming keys in a one-line message: how many there are, and the first few."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_SHOWN = 3


def count_and_name(groups: Mapping[str, Collection[str]]) -> str:
    """Return such as ``"2 missing (fc.bias, fc.weight), 9 unexpected (a, b, c, …)"``; empty groups are left out."""
    return ", ".join(f"{len(keys)} {what} ({_first(keys)})" for what, keys in groups.items() if keys)


def _first(keys: Collection[str]) -> str:
    return ", ".join([*sorted(keys)[:_SHOWN], *(["…"] if len(keys) > _SHOWN else [])])
