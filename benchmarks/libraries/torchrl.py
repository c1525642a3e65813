"""Networks of torchrl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torchrl.modules.models.models import MLP, DuelingMlpDQNet

from benchmarks.libraries.library_model import LibraryModel


def _states(name: str) -> dict[str, Tensor]:
    return {name: torch.randn(4, 6)}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "MLP": LibraryModel(
        lambda: nn.Sequential(MLP(in_features=6, out_features=2, num_cells=[16, 16])), lambda: _states("input"), 2
    ),
    "MLP_norm": LibraryModel(
        lambda: nn.Sequential(
            MLP(
                in_features=6,
                out_features=2,
                num_cells=[16, 16],
                norm_class=nn.LayerNorm,
                norm_kwargs={"normalized_shape": 16},
                dropout=0.1,
            )
        ),
        lambda: _states("input"),
        2,
    ),
    "DuelingMlpDQNet": LibraryModel(
        lambda: DuelingMlpDQNet(
            out_features=2,
            mlp_kwargs_feature={"in_features": 6, "num_cells": [16, 16], "out_features": 16},
            mlp_kwargs_output={"in_features": 16, "depth": 1, "num_cells": 16},
        ),
        lambda: _states("x"),
        4,
        "two heads read the last features",
    ),
}
