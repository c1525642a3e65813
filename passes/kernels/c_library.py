"""C text as a loaded library, where there is a compiler that makes quick code of it.

That is GCC with a C library that has functions of vectors. The text needs no headers of torch's, so that it takes a
fraction of a second.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

_log = logging.getLogger(__name__)

# Errors of arithmetic are neither counted nor trapped, as in torch; NaN, infinities and signs of 0 are kept.
_FLAGS: Final = (
    *("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp"),
    *("-fPIC", "-shared", "-Werror=unknown-pragmas"),
)
_MOST_SECONDS: Final = 60


def is_available() -> bool:
    """Say whether there is such a compiler."""
    return compiled("void run(void) {}", ()) is not None


def compiler() -> str:
    """Return what the compiler says of its version, or ``none``."""
    if not is_available():
        return "none"
    said = subprocess.run([*_command(), "--version"], check=True, capture_output=True, text=True, timeout=_MOST_SECONDS)
    return said.stdout.partition("\n")[0]


def compiled(text: str, arguments: tuple[Any, ...]) -> Callable[..., None] | None:
    """Return the function ``run`` of a text of C, or None where nothing can compile, link or load it.

    The compiler is that of the environment variable ``CC``, else ``gcc``; an empty ``CC`` stands for none. A library is
    made once in a process and leaves no file.

    Args:
        text: the function is void.
        arguments: their types.
    """
    return _compiled(text, arguments, _command())


def _command() -> tuple[str, ...]:
    return tuple(shlex.split(os.environ.get("CC", "gcc")))


@lru_cache(maxsize=512)
def _compiled(text: str, arguments: tuple[Any, ...], command: tuple[str, ...]) -> Callable[..., None] | None:
    if not command:
        return None
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "routine.c"), Path(folder, "routine.so")
            source.write_text(text)
            subprocess.run(
                [*command, *_FLAGS, str(source), "-o", str(library), "-lmvec", "-lm"],
                check=True,
                capture_output=True,
                timeout=_MOST_SECONDS,
            )
            run = ctypes.CDLL(str(library)).run
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        _log.info("no C routine, torch's operations serve: %s %s", error, said.decode(errors="replace"))
        return None
    run.argtypes, run.restype = arguments, None
    function: Callable[..., None] = run
    return function
