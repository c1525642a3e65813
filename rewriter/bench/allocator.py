"""The C library's allocator while something is timed: what is freed is kept for the next allocation."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# The numbers of glibc's malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_NEVER: Final = -1
_USUAL_TRIM_THRESHOLD: Final = 128 * 1024
_USUAL_MMAP_MAX: Final = 65536


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep freed memory of any size inside the context; gives whether the C library can do so, which glibc can.

    Otherwise glibc gives every tensor of 32 MiB or more back to the system, which then clears its pages one by one when
    the next one of that size is made. Of two models it would slow that one down whose tensors happen to be just beyond.
    Afterwards it trims and maps as a new process does, but no longer adapts its thresholds to what is freed, which any
    setting ends; what it kept goes back to the system as far as it can be given back.
    """
    try:
        library = ctypes.CDLL(None)
        adjust, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        yield False
        return
    kept = bool(adjust(_MMAP_MAX, 0)) and bool(adjust(_TRIM_THRESHOLD, _NEVER))
    try:
        yield kept
    finally:
        adjust(_MMAP_MAX, _USUAL_MMAP_MAX)
        adjust(_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
        trim(0)
