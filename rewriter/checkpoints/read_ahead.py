"""Reading ahead: the system fetches what will be read next while this program works on what it has."""

from __future__ import annotations

import os
from typing import Final

_AHEAD: Final = 1 << 24  # bytes


class ReadAhead:
    """Keeps the next 16 MiB of a file on their way into memory.

    Args:
        file: an open file's descriptor.
        start: where reading begins, in bytes.
        end: where it ends.
    """

    def __init__(self, file: int, start: int, end: int) -> None:
        self._file, self._asked, self._end = file, start, end

    def reading(self, position: int) -> None:
        """Ask for what lies behind ``position``, each byte once; systems that cannot be asked read as they do."""
        until = min(position + _AHEAD, self._end)
        if until > self._asked and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, self._asked, until - self._asked, os.POSIX_FADV_WILLNEED)
            self._asked = until
