"""Augmentation of batches of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rewriter.finetune.settings import Augmentation

_PADDING = 8  # an eighth of the image on each side: 4 pixels for 32


def augmented(images: Tensor, what: Sequence[Augmentation], generator: torch.Generator) -> Tensor:
    """Return images ``[N, C, H, W]``, each cropped out of its zero-padded self and mirrored at random, as asked."""
    count, _, height, width = images.shape
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if "crop" in what:
        high, wide = height // _PADDING, width // _PADDING
        images = F.pad(images, (wide, wide, high, high))
        rows = rows + torch.randint(0, 2 * high + 1, (count, 1), generator=generator)
        columns = columns + torch.randint(0, 2 * wide + 1, (count, 1), generator=generator)
    if "flip" in what:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(count)[:, None, None]
    return images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
