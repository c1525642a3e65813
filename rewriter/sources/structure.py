"""The structure of a model without its weights, for planning models that do not fit in memory."""

from __future__ import annotations

import torch

from rewriter.errors import UsageError
from rewriter.sources.source import Source, load_source
from rewriter.sources.spec import parse_spec


def load_structure(text: str, *, input_shape: tuple[int, ...] | None = None) -> Source:
    """Build the model that ``text`` names on the ``meta`` device, where weights have shapes and no values.

    A constructor that reads values, and a ``py:`` factory, which may do anything, build on the CPU instead.

    Args:
        text: as `load_source` takes it.
        input_shape: the shape without the batch, in place of the one the model gives.

    Raises:
        UsageError: the source cannot be built, or ``input_shape`` does not fit the model's inputs.
    """
    if parse_spec(text).scheme != "py":
        try:
            with torch.device("meta"):
                return load_source(text, input_shape=input_shape, trained=False)
        except UsageError:
            pass  # said again by the second try, unless it was the device
    return load_source(text, input_shape=input_shape, trained=False)
