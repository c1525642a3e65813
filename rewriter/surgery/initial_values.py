"""The values of new weights: drawn as torch draws those of a linear, from the seed and the path alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import torch
from torch import nn

_PIECE = 1 << 16  # values


def draw(parameters: Iterable[nn.Parameter], fan_in: int, *, seed: int, path: str) -> None:
    """Fill parameters with uniform values within ``±1/√fan_in``, the same on every device and in every order of paths.

    Args:
        parameters: filled one after the other, in place; not on the ``meta`` device.
        fan_in: the number of values that each unit sums.
        seed: the seed of the rewrite.
        path: the path of what is filled; the global random state is not used.
    """
    digest = hashlib.sha256(f"{seed}:{path}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7], "big"))
    bound = float(torch.tensor(1 / math.sqrt(fan_in), dtype=torch.float32, device="cpu"))
    with torch.no_grad():
        for parameter in parameters:
            # Piece by piece the values are the same, and less memory holds them at once.
            pieces = torch.split(parameter.view(-1), _PIECE) if parameter.is_contiguous() else (parameter,)
            for piece in pieces:
                drawn = torch.rand(piece.shape, generator=generator, dtype=torch.float32, device="cpu")
                # Torch's uniform_ rounds twice on processors that cannot multiply and add at once. In float64 nothing
                # is rounded before the end.
                piece.copy_(drawn.double().mul_(2 * bound).sub_(bound).float())
