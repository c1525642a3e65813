"""Refusing weights that hold NaN or infinity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rewriter.checkpoints.listing import count_and_name
from rewriter.errors import CheckpointError


def require_finite(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Check that every value is finite.

    Args:
        tensors: by name; any shape and dtype that ``torch.isfinite`` knows.
        origin: where they come from, for the message.

    Raises:
        CheckpointError: naming the tensors that hold NaN or infinity.
    """
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(
            expected="finite weights",
            found=f"{origin} with {count_and_name({'holding NaN or infinity': broken})}",
            remedy="use a checkpoint from before the training diverged",
        )
