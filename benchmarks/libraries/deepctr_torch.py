"""Recommenders of deepctr_torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DCN, NFM, WDL, DeepFM
from torch import Tensor, nn

from benchmarks.libraries.library_model import LibraryModel


def _rows() -> dict[str, Tensor]:
    categories = torch.randint(0, 5, (4, 2)).float()
    return {"X": torch.cat([categories, torch.randn(4, 2)], 1)}


def _recommender(kind: Any, **options: Any) -> nn.Module:
    columns = [SparseFeat(name, 5, embedding_dim=4) for name in ("user", "item")]
    columns += [DenseFeat(name, 1) for name in ("price", "age")]
    recommender: nn.Module = kind(columns, columns, dnn_hidden_units=(16, 16), **options)
    return recommender


MODELS: Final[Mapping[str, LibraryModel]] = {
    "WDL": LibraryModel(lambda: _recommender(WDL), _rows, 2),
    "WDL_norm": LibraryModel(lambda: _recommender(WDL, dnn_use_bn=True, dnn_dropout=0.1), _rows, 2),
    "DeepFM": LibraryModel(lambda: _recommender(DeepFM), _rows, 2),
    "NFM": LibraryModel(lambda: _recommender(NFM), _rows, 2),
    "DCN": LibraryModel(lambda: _recommender(DCN), _rows, 1, "the second hidden layer is joined with the crosses"),
}
