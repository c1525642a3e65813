"""Vision networks of kornia."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from kornia.feature import HardNet, HyNet, SOSNet, TFeat
from kornia.feature.loftr.loftr_module.transformer import LocalFeatureTransformer
from kornia.models.small_sr import SmallSRNet
from kornia.models.tiny_vit import TinyViT
from kornia.models.vit import VisionTransformer
from torch import Tensor

from benchmarks.libraries.library_model import LibraryModel

_LOFTR: Final[dict[str, Any]] = {"d_model": 32, "nhead": 2, "layer_names": ["self", "cross"], "attention": "linear"}


def _patches(name: str = "input") -> dict[str, Tensor]:
    return {name: torch.randn(2, 1, 32, 32)}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "HardNet": LibraryModel(lambda: HardNet(pretrained=False), _patches, 6),
    "SOSNet": LibraryModel(lambda: SOSNet(pretrained=False), _patches, 6),
    "HyNet": LibraryModel(
        lambda: HyNet(pretrained=False),
        lambda: _patches("x"),
        6,
        "its activation is a maximum with a trained value",
    ),
    "TFeat": LibraryModel(
        lambda: TFeat(pretrained=False),
        _patches,
        2,
        "one reaches its linear through a flatten; the last activation is the output",
    ),
    "SmallSRNet": LibraryModel(
        lambda: SmallSRNet(3, pretrained=False), lambda: _patches("x"), 3, "one activation module for all three"
    ),
    "TinyViT": LibraryModel(
        lambda: TinyViT(
            img_size=64, embed_dims=[16, 32, 32, 64], depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_sizes=[2] * 4
        ),
        lambda: {"x": torch.randn(2, 3, 64, 64)},
        8,
        "four inverted bottlenecks, three feed-forwards, one in the stem",
    ),
    "VisionTransformer": LibraryModel(
        lambda: VisionTransformer(image_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2),
        lambda: {"x": torch.randn(2, 3, 32, 32)},
        2,
    ),
    "LocalFeatureTransformer": LibraryModel(
        lambda: LocalFeatureTransformer(_LOFTR),
        lambda: {"feat0": torch.randn(2, 9, 32), "feat1": torch.randn(2, 9, 32)},
        2,
        "each is called for both images",
    ),
}
