"""One line for a failure, however many processes it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]

_PATIENCE = timedelta(seconds=10)


@contextmanager
def one_failure() -> Iterator[None]:
    """Let the first of several processes that fails raise its error; the others that fail then end silently.

    Most failures are those of every process, and the end of one process is a failure of the others that wait for it.
    The processes are those of ``torchrun`` and ``accelerate launch``, whose store tells who was first.
    """
    try:
        yield
    except Exception as error:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_first():
            raise
        sys.exit(getattr(error, "exit_code", 1))


def _is_first() -> bool:
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=_PATIENCE)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        failures: int = PrefixStore(f"rewrite-model/{attempt}", store).add("failures", 1)
        return failures == 1
    except (DistError, KeyError, RuntimeError, ValueError):
        return True  # rather twice than never
