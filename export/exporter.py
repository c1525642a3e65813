"""Running a foreign exporter: nothing of it reaches the terminal, and its failure becomes an ``ExportError``."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from export.options import AS_IT_IS, ExportOptions
from rewriter.errors import ExportError, RewriterError
from rewriter.sources.inputs import InputSpec

_REASON_LENGTH = 300
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Exporter(Protocol):
    """A function that writes ``model`` to ``path`` and leaves the model as it was; ``metadata`` goes into the file.

    Raises:
        UsageError: the specs or options do not fit the model.
        ExportError: the back-end cannot export the model.
    """

    def __call__(
        self,
        model: nn.Module,
        specs: Sequence[InputSpec],
        path: Path,
        *,
        metadata: Mapping[str, str] | None = None,
        options: ExportOptions = AS_IT_IS,
    ) -> None:
        """Write the file."""


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep what runs inside off the terminal, and run it without gradients.

    Exporters print, log and warn at will, for the reader of a stack trace rather than for the user. Warnings, logging
    and the two streams are set back at the end.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def exporting(backend: str) -> Iterator[None]:
    """Silence what runs inside and turn its exceptions into ``ExportError``.

    Raises:
        ExportError: with the innermost reason in one line.
    """
    try:
        with silenced():
            yield
    except RewriterError:
        raise
    except Exception as error:
        raise ExportError(
            expected=f"a model that {backend} can export",
            found=one_line(error),
            remedy="export the original model to see whether it has the same limit, or choose another target",
        ) from error


def one_line(error: BaseException) -> str:
    """Return the innermost cause of ``error`` as its class and the start of its message, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = _ESCAPES.sub("", f"{type(error).__name__}: {error}").split()
    text = " ".join(words)
    return text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}…"
