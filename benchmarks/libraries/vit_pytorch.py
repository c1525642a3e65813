"""Vision transformers of vit_pytorch, with small configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from vit_pytorch import SimpleViT, ViT
from vit_pytorch.cait import CaiT
from vit_pytorch.cct import CCT
from vit_pytorch.cross_vit import CrossViT
from vit_pytorch.crossformer import CrossFormer
from vit_pytorch.cvt import CvT
from vit_pytorch.deepvit import DeepViT
from vit_pytorch.levit import LeViT
from vit_pytorch.mobile_vit import MobileViT
from vit_pytorch.nest import NesT
from vit_pytorch.normalized_vit import nViT
from vit_pytorch.parallel_vit import ViT as ParallelViT
from vit_pytorch.pit import PiT
from vit_pytorch.twins_svt import TwinsSVT
from vit_pytorch.vit_1d import ViT as ViT1D
from vit_pytorch.vivit import ViViT
from vit_pytorch.xcit import XCiT

from benchmarks.libraries.library_model import LibraryModel

_HEAD: Final[dict[str, Any]] = {"num_classes": 4, "heads": 2, "dim_head": 16}
_SIZES: Final[dict[str, Any]] = {**_HEAD, "image_size": 32, "patch_size": 8, "dim": 32, "depth": 2, "mlp_dim": 64}


def _images(side: int = 32) -> dict[str, Tensor]:
    return {"img": torch.randn(2, 3, side, side)}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "ViT": LibraryModel(lambda: ViT(**_SIZES), _images, 2),
    "SimpleViT": LibraryModel(lambda: SimpleViT(**_SIZES), _images, 2),
    "DeepViT": LibraryModel(lambda: DeepViT(**_SIZES), _images, 2),
    "CaiT": LibraryModel(lambda: CaiT(**_SIZES, cls_depth=1), _images, 3),
    "XCiT": LibraryModel(
        lambda: XCiT(**_SIZES, cls_depth=1), _images, 3, "the patch interaction has depthwise convolutions alone"
    ),
    "nViT": LibraryModel(
        lambda: nViT(image_size=32, patch_size=8, num_classes=4, dim=32, depth=2, heads=2, dim_head=16, mlp_dim=64),
        lambda: {"images": _images()["img"]},
        2,
        "gated, with scales between, and weights that are normalised by a parametrization",
    ),
    "ParallelViT": LibraryModel(lambda: ParallelViT(**_SIZES), _images, 4, "two side by side in each layer"),
    "PiT": LibraryModel(lambda: PiT(**_SIZES | {"depth": (1, 1)}), _images, 2),
    "CCT": LibraryModel(
        lambda: CCT(
            img_size=32,
            embedding_dim=32,
            n_conv_layers=2,
            num_layers=2,
            num_heads=2,
            mlp_ratio=2.0,
            num_classes=4,
            positional_embedding="learnable",
        ),
        lambda: {"x": _images()["img"]},
        3,
        "one between the convolutions that make the tokens",
    ),
    "CrossViT": LibraryModel(
        lambda: CrossViT(
            image_size=32,
            num_classes=4,
            sm_dim=16,
            lg_dim=32,
            sm_patch_size=8,
            sm_enc_depth=1,
            sm_enc_heads=2,
            sm_enc_mlp_dim=32,
            sm_enc_dim_head=8,
            lg_patch_size=16,
            lg_enc_depth=2,
            lg_enc_heads=2,
            lg_enc_mlp_dim=64,
            lg_enc_dim_head=8,
            cross_attn_depth=1,
            cross_attn_heads=2,
            cross_attn_dim_head=8,
            depth=1,
        ),
        _images,
        3,
    ),
    "CrossFormer": LibraryModel(
        lambda: CrossFormer(
            num_classes=4, dim=(32, 32, 64, 64), depth=1, global_window_size=(2, 2, 1, 1), local_window_size=2
        ),
        lambda: {"x": _images(64)["img"]},
        32,
        "two feed-forwards in each of four stages, and three in each of eight MLPs that make biases from distances",
    ),
    "CvT": LibraryModel(
        lambda: CvT(
            num_classes=4, s1_emb_dim=16, s2_emb_dim=32, s2_heads=2, s3_emb_dim=32, s3_heads=2, s3_depth=1, s2_depth=1
        ),
        lambda: {"x": _images(64)["img"]},
        3,
    ),
    "LeViT": LibraryModel(
        lambda: LeViT(
            image_size=64, num_classes=4, stages=2, dim=(16, 32), depth=1, heads=2, mlp_mult=2, dim_key=8, dim_value=8
        ),
        lambda: _images(64),
        3,
        "the activations of attention follow a product of two values",
    ),
    "MobileViT": LibraryModel(
        lambda: MobileViT(
            image_size=(64, 64),
            dims=(16, 16, 16),
            channels=(8, 8, 16, 16, 16, 16, 24, 24, 32, 32, 40),
            num_classes=4,
            depths=(1, 1, 1),
        ),
        lambda: {"x": _images(64)["img"]},
        17,
        "the seven inverted bottlenecks have two activations each, one on either side of a depthwise convolution",
    ),
    "NesT": LibraryModel(
        lambda: NesT(
            image_size=32, patch_size=4, num_classes=4, dim=16, heads=2, num_hierarchies=2, block_repeats=(1, 1)
        ),
        _images,
        2,
    ),
    "TwinsSVT": LibraryModel(
        lambda: TwinsSVT(
            num_classes=4,
            **{f"s{stage}_emb_dim": 16 for stage in (1, 2, 3, 4)},
            **{f"s{stage}_local_patch_size": 2 for stage in (1, 2, 3)},
            **{f"s{stage}_global_k": 1 for stage in (1, 2, 3, 4)},
            s4_local_patch_size=1,
            s3_depth=1,
            s4_depth=1,
        ),
        lambda: {"x": _images(64)["img"]},
        14,
        "two in each of six layers, one in each of the two of the last stage",
    ),
    "ViT1D": LibraryModel(
        lambda: ViT1D(seq_len=32, patch_size=8, num_classes=4, dim=32, depth=2, heads=2, mlp_dim=64, dim_head=16),
        lambda: {"series": torch.randn(2, 3, 32)},
        2,
    ),
    "ViViT": LibraryModel(
        lambda: ViViT(
            image_size=32,
            image_patch_size=8,
            frames=4,
            frame_patch_size=2,
            dim=32,
            spatial_depth=1,
            temporal_depth=1,
            mlp_dim=64,
            **_HEAD,
        ),
        lambda: {"video": torch.randn(2, 3, 4, 32, 32)},
        2,
    ),
}
