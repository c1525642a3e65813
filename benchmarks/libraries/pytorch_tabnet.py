"""The networks of pytorch-tabnet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from pytorch_tabnet.tab_network import TabNet, TabNetPretraining
from torch import Tensor

from benchmarks.libraries.library_model import LibraryModel

_SIZES: Final[dict[str, Any]] = {"input_dim": 6, "n_d": 8, "n_a": 8, "n_steps": 2, "cat_idxs": [5], "cat_dims": [3]}
_SKIPS: Final = "every gated linear unit and every activation acts on, or goes to, a sum"


def _rows() -> dict[str, Tensor]:
    return {"x": torch.cat([torch.randn(8, 5), torch.randint(0, 3, (8, 1)).float()], 1)}


def _groups() -> Tensor:
    return torch.eye(6)


MODELS: Final[Mapping[str, LibraryModel]] = {
    "TabNet": LibraryModel(
        lambda: TabNet(**_SIZES, output_dim=2, cat_emb_dim=[2], group_attention_matrix=_groups()), _rows, 0, _SKIPS
    ),
    "TabNetPretraining": LibraryModel(
        lambda: TabNetPretraining(**_SIZES, cat_emb_dim=[2], group_attention_matrix=_groups()), _rows, 0, _SKIPS
    ),
}
