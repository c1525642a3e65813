"""From pixels to what a model takes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rewriter.errors import UsageError
from rewriter.finetune.data.takes import Takes

_BRIGHTEST = 255


def is_channels_last(images: Tensor) -> bool:
    """Say whether images ``[N, …]`` are stored as ``[N, H, W, C]``."""
    return images.ndim == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3)


def to_unit(images: Tensor, takes: Takes) -> Tensor:
    """Turn uint8 images, ``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]``, into float32 ``[N, C, H, W]`` in [0, 1].

    Their size becomes that of the model's input, their number of channels too where it is one of the two.

    Raises:
        UsageError: the number of channels does not fit.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif is_channels_last(images):
        images = images.permute(0, 3, 1, 2)
    unit = images.to(torch.float32) / _BRIGHTEST
    if takes.shape is None or len(takes.shape) != 3:
        return unit
    channels, height, width = takes.shape
    if unit.shape[1] != channels and 1 in (unit.shape[1], channels):
        unit = unit.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if unit.shape[1] != channels:
        raise UsageError(
            expected=f"images of {channels} channels", found=str(unit.shape[1]), remedy="convert the images"
        )
    if unit.shape[2:] != (height, width):
        unit = F.interpolate(unit, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    return unit


def normalised(unit: Tensor, takes: Takes) -> Tensor:
    """Subtract the mean of each channel and divide by its deviation."""
    mean, deviation = (torch.tensor(values).view(1, -1, 1, 1) for values in (takes.mean, takes.deviation))
    return (unit - mean) / deviation
