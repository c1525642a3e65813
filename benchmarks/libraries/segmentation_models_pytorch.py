"""Segmentation networks of segmentation_models_pytorch, with a small encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from benchmarks.libraries.library_model import LibraryModel

_DECODER: Final = (32, 16, 16, 8, 8)
_RESNET: Final = "eight in the blocks of the encoder"
_SKIPS: Final = f"{_RESNET}; what is joined with a skip connection is none"


def _images() -> dict[str, Tensor]:
    return {"x": torch.randn(2, 3, 64, 64)}


def _network(name: str, encoder: str = "resnet18", **options: Any) -> nn.Module:
    network: nn.Module = getattr(smp, name)(encoder, encoder_weights=None, classes=2, **options)
    return network


MODELS: Final[Mapping[str, LibraryModel]] = {
    "Unet": LibraryModel(lambda: _network("Unet", decoder_channels=_DECODER), _images, 15, _SKIPS),
    "UnetPlusPlus": LibraryModel(lambda: _network("UnetPlusPlus", decoder_channels=_DECODER), _images, 21, _SKIPS),
    "MAnet": LibraryModel(
        lambda: _network("MAnet", decoder_channels=_DECODER, decoder_pab_channels=8),
        _images,
        30,
        f"{_SKIPS}; eight inside the squeeze-and-excites",
    ),
    "Linknet": LibraryModel(
        lambda: _network("Linknet"), _images, 19, f"{_RESNET}; transposed convolutions are convolutions"
    ),
    "FPN": LibraryModel(
        lambda: _network("FPN", decoder_pyramid_channels=32, decoder_segmentation_channels=32),
        _images,
        11,
        f"{_RESNET}; what the pyramid adds up is none",
    ),
    "PSPNet": LibraryModel(
        lambda: _network("PSPNet", psp_out_channels=32), _images, 5, "half of the encoder does not run"
    ),
    "DeepLabV3": LibraryModel(lambda: _network("DeepLabV3", decoder_channels=32), _images, 10, _SKIPS),
    "DeepLabV3Plus": LibraryModel(
        lambda: _network("DeepLabV3Plus", decoder_channels=32),
        _images,
        10,
        f"{_SKIPS}; one reaches its convolution through a depthwise one",
    ),
    "Segformer": LibraryModel(
        lambda: _network("Segformer", "mit_b0", decoder_segmentation_channels=32),
        _images,
        9,
        "a depthwise convolution stands ahead of the activation in the eight blocks of the encoder",
    ),
}
