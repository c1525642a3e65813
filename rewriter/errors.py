"""The project's exceptions: one line each, with the exit code the command line answers with."""

from __future__ import annotations

from functools import partial
from typing import ClassVar


class RewriterError(Exception):
    """Base of every error a user can act on.

    Args:
        expected: what would have been right.
        found: what was there instead.
        remedy: what to do now, in the imperative.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, *, expected: str, found: str, remedy: str) -> None:
        self.expected, self.found, self.remedy = expected, found, remedy
        text = f"expected {expected}; found {found}; {remedy}"
        # Names in files may hold line breaks, or codes that a terminal obeys.
        super().__init__(" ".join("".join(c if c.isprintable() else " " for c in text).split()))

    def __reduce__(self) -> tuple[object, ...]:
        # From another process it arrives as what it was, though its arguments are keywords.
        return partial(type(self), expected=self.expected, found=self.found, remedy=self.remedy), ()


class UsageError(RewriterError):
    """An argument, option or name that is not valid (exit code 2)."""

    exit_code = 2


class NoSiteError(RewriterError):
    """The model has no site that the method can rewrite (exit code 3)."""

    exit_code = 3


class ValidationError(RewriterError):
    """The rewritten model breaks a promise: budget, finite values, parity (exit code 4)."""

    exit_code = 4


class IllConditionedError(ValidationError):
    """Parity fails, but by rounding alone: eager PyTorch is no closer to the model in float64 (exit code 4)."""


class CaptureError(RewriterError):
    """A module could not be captured and ``strict`` was asked for (exit code 5)."""

    exit_code = 5


class CheckpointError(RewriterError):
    """A checkpoint is unreadable, unsafe, or does not match the model (exit code 6)."""

    exit_code = 6


class ExportError(RewriterError):
    """A back-end could not export the model (exit code 7)."""

    exit_code = 7
