"""Medical networks of monai, in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from monai.networks.nets import (
    UNETR,
    AutoEncoder,
    AutoencoderKL,
    BasicUNet,
    Classifier,
    DenseNet,
    DiffusionModelUNet,
    DynUNet,
    FullyConnectedNet,
    SegResNet,
    SwinUNETR,
    UNet,
    ViT,
    VNet,
    resnet10,
)
from torch import Tensor

from benchmarks.libraries.library_model import LibraryModel

_PLANE: Final[dict[str, Any]] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_BLOCKS: Final = "one in each block; the last activation of a block acts on a sum"


def _image(side: int = 32) -> dict[str, Tensor]:
    return {"x": torch.randn(2, 1, side, side)}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "FullyConnectedNet": LibraryModel(
        lambda: FullyConnectedNet(8, 3, hidden_channels=[16, 16], dropout=0.1), lambda: {"input": torch.randn(4, 8)}, 2
    ),
    "UNet": LibraryModel(
        lambda: UNet(**_PLANE, channels=(8, 16, 32), strides=(2, 2), num_res_units=2),
        _image,
        3,
        "one in each residual unit of the way down; the others are joined or added",
    ),
    "BasicUNet": LibraryModel(
        lambda: BasicUNet(**_PLANE, features=(8, 8, 16, 16, 16, 8)),
        _image,
        14,
        "nine blocks of two convolutions, and five ways on to a transposed convolution or the last one",
    ),
    "DynUNet": LibraryModel(
        lambda: DynUNet(
            **_PLANE, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[8, 16, 32]
        ),
        _image,
        8,
        "five blocks, with one activation module for both calls, and three ways on",
    ),
    "SegResNet": LibraryModel(
        lambda: SegResNet(**_PLANE, init_filters=8, blocks_down=(1, 1), blocks_up=(1,)), _image, 3, _BLOCKS
    ),
    "VNet": LibraryModel(
        lambda: VNet(**_PLANE),
        _image,
        7,
        "what stands between the convolutions in a row; every first and last one is added or joined",
    ),
    "UNETR": LibraryModel(
        lambda: UNETR(1, 2, img_size=32, feature_size=8, hidden_size=32, mlp_dim=64, num_heads=2, spatial_dims=2),
        lambda: {"x_in": torch.randn(2, 1, 32, 32)},
        20,
        "twelve in the transformer, eight in residual blocks with one activation module for both calls",
    ),
    "SwinUNETR": LibraryModel(
        lambda: SwinUNETR(1, 2, feature_size=12, spatial_dims=2, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2)),
        lambda: {"x_in": torch.randn(1, 1, 64, 64)},
        14,
        "four in the transformer, ten in residual blocks with one activation module for both calls",
    ),
    "ViT": LibraryModel(
        lambda: ViT(
            in_channels=1,
            img_size=32,
            patch_size=8,
            hidden_size=32,
            mlp_dim=64,
            num_layers=2,
            num_heads=2,
            classification=True,
            spatial_dims=2,
        ),
        _image,
        2,
        "its last activation is the output",
    ),
    "resnet10": LibraryModel(
        lambda: resnet10(spatial_dims=2, n_input_channels=1, num_classes=3), lambda: _image(64), 4, _BLOCKS
    ),
    "DenseNet": LibraryModel(
        lambda: DenseNet(**_PLANE, init_features=8, growth_rate=4, block_config=(2, 2)),
        lambda: _image(64),
        4,
        "one in each layer; the others act on what is joined",
    ),
    "AutoEncoder": LibraryModel(
        lambda: AutoEncoder(**_PLANE, channels=(4, 8), strides=(2, 2)),
        _image,
        3,
        "two of them go to transposed convolutions",
    ),
    "Classifier": LibraryModel(
        lambda: Classifier(in_shape=(1, 32, 32), classes=3, channels=(4, 8), strides=(2, 2)), _image, 2, _BLOCKS
    ),
    "DiffusionModelUNet": LibraryModel(
        lambda: DiffusionModelUNet(
            **_PLANE,
            channels=(8, 16),
            attention_levels=(False, True),
            norm_num_groups=4,
            num_res_blocks=1,
            num_head_channels=8,
            with_conditioning=True,
            cross_attention_dim=8,
        ),
        lambda: _image(16) | {"timesteps": torch.tensor([1, 7]), "context": torch.randn(2, 3, 8)},
        5,
        "four gated MLPs, and the time step; where that is added in, two layers make the hidden units",
    ),
    "AutoencoderKL": LibraryModel(
        lambda: AutoencoderKL(
            **_PLANE,
            channels=(8, 16),
            num_res_blocks=(1, 1),
            attention_levels=(False, False),
            latent_channels=2,
            norm_num_groups=4,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        ),
        _image,
        4,
        _BLOCKS,
    ),
}
