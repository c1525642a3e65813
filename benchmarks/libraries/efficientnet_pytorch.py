"""The EfficientNet of efficientnet_pytorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from efficientnet_pytorch import EfficientNet

from benchmarks.libraries.library_model import LibraryModel

MODELS: Final[Mapping[str, LibraryModel]] = {
    "efficientnet_b0": LibraryModel(
        lambda: EfficientNet.from_name("efficientnet-b0", num_classes=4),
        lambda: {"inputs": torch.randn(2, 3, 64, 64)},
        33,
        "sixteen bottlenecks, the first with the stem, as many squeeze-and-excites, and the head",
    ),
}
