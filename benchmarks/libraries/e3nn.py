"""The radial network of e3nn, which every equivariant model built with it has in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from e3nn.nn import FullyConnectedNet

from benchmarks.libraries.library_model import LibraryModel

MODELS: Final[Mapping[str, LibraryModel]] = {
    "FullyConnectedNet": LibraryModel(
        lambda: FullyConnectedNet([8, 16, 16, 4], torch.nn.functional.silu),
        lambda: {"input": torch.randn(4, 8)},
        2,
        "its layers multiply by a parameter and by constants",
    ),
}
