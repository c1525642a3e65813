"""Caches of functions, which must not keep what a run on tensors without values put into them."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator
from typing import TypeAlias

_Cache: TypeAlias = "functools._lru_cache_wrapper[object]"


@contextlib.contextmanager
def emptied_caches() -> Iterator[None]:
    """Empty every cache of :mod:`functools` that the block adds to, wherever it is held.

    A model may compute a table of positions in a cached function; after a run on fake tensors the cache would hand
    one of them to the next run on real ones.
    """
    before = {id(cache): cache.cache_info().misses for cache in _caches()}
    try:
        yield
    finally:
        for cache in _caches():
            if cache.cache_info().misses != before.get(id(cache), 0):
                cache.cache_clear()


def _caches() -> list[_Cache]:
    return [found for found in gc.get_objects() if type(found) is functools._lru_cache_wrapper]
