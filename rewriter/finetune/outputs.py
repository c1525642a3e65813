"""The output of a model that is learnt and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rewriter.errors import UsageError


def main_output(output: Any) -> Tensor:
    """Return the tensor of a model's output that matters: ``logits`` by name, else the first floating-point one.

    Raises:
        UsageError: there is none.
    """
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        return output["logits"]  # type: ignore[no-any-return]
    found = _first(output)
    if found is None:
        raise UsageError(
            expected="a model that returns a floating-point tensor, alone or in a tuple, list or mapping",
            found=type(output).__name__,
            remedy="wrap the model so that it does",
        )
    return found


def _first(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((found for part in parts if (found := _first(part)) is not None), None)
