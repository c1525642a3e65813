"""Augmentation of batches of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rewriter.finetune.settings import Augmentation

_PADDING = 8  # an eighth of the image on each side: 4 pixels for 32


def augmented(
    images: Tensor, what: Sequence[Augmentation], generator: torch.Generator, *, process: int = 0, processes: int = 1
) -> Tensor:
    """Return images ``[N, C, H, W]``, each cropped out of its zero-padded self and mirrored at random, as asked.

    Args:
        images: every ``processes``-th image of a batch, from ``process`` on.
        what: is done.
        generator: draws for the whole batch, so that an image is changed alike whoever has it.
        process: the number of this process.
        processes: how many share the batch.
    """
    count, _, height, width = images.shape
    whole = (count * processes, 1)
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if "crop" in what:
        high, wide = height // _PADDING, width // _PADDING
        images = F.pad(images, (wide, wide, high, high))
        rows = rows + torch.randint(0, 2 * high + 1, whole, generator=generator)[process::processes]
        columns = columns + torch.randint(0, 2 * wide + 1, whole, generator=generator)[process::processes]
    if "flip" in what:
        mirrored = torch.rand(whole, generator=generator)[process::processes] < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(count)[:, None, None]
    return images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
