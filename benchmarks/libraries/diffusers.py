"""Denoisers and autoencoders of diffusers, with small configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from diffusers import (
    AuraFlowTransformer2DModel,
    AutoencoderKL,
    AutoencoderTiny,
    CogVideoXTransformer3DModel,
    ControlNetModel,
    DiTTransformer2DModel,
    FluxTransformer2DModel,
    Lumina2Transformer2DModel,
    PixArtTransformer2DModel,
    PriorTransformer,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    T2IAdapter,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
    WanTransformer3DModel,
)
from torch import Tensor

from benchmarks.libraries.library_model import LibraryModel

_UNET: Final[dict[str, Any]] = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
_CROSS: Final[dict[str, Any]] = {
    **_UNET,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
}
_TWO_BLOCKS: Final[dict[str, Any]] = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16}
_AUTOENCODER: Final[dict[str, Any]] = {
    **_UNET,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
_TIME: Final = "the embedding of the time step is one; where it is added in, two layers make the hidden units"


def _draw(**shapes: tuple[int, ...]) -> Callable[[], dict[str, Tensor]]:
    """Make the inputs of a denoiser: normal values of these shapes, and time steps."""
    return lambda: {name: torch.randn(shape) for name, shape in shapes.items()} | {"timestep": torch.tensor([1, 7])}


def _images() -> dict[str, Tensor]:
    return {"sample": torch.randn(2, 3, 32, 32)}


def _autoencoder_tiny() -> Any:
    """Build the autoencoder that rounds between its parts, which is why they are looked at one by one."""
    return AutoencoderTiny(
        encoder_block_out_channels=(16, 16),
        decoder_block_out_channels=(16, 16),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )


MODELS: Final[Mapping[str, LibraryModel]] = {
    "UNet2DModel": LibraryModel(
        lambda: UNet2DModel(
            **_UNET,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ),
        _draw(sample=(2, 3, 16, 16)),
        1,
        _TIME,
    ),
    "UNet2DConditionModel": LibraryModel(
        lambda: UNet2DConditionModel(**_CROSS, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
        _draw(sample=(2, 4, 16, 16), encoder_hidden_states=(2, 5, 24)),
        5,
        f"a gated MLP in each of four transformer blocks; {_TIME}",
    ),
    "ControlNetModel": LibraryModel(
        lambda: ControlNetModel(**_CROSS, conditioning_embedding_out_channels=(8, 16)),
        _draw(sample=(2, 4, 8, 8), encoder_hidden_states=(2, 5, 24), controlnet_cond=(2, 3, 16, 16)),
        6,
        f"three between the convolutions of the condition, and two gated MLPs; {_TIME}",
    ),
    "T2IAdapter": LibraryModel(
        lambda: T2IAdapter(channels=[16, 32], num_res_blocks=2, downscale_factor=4, adapter_type="full_adapter"),
        lambda: {"x": torch.randn(2, 3, 32, 32)},
        4,
    ),
    "AutoencoderKL": LibraryModel(
        lambda: AutoencoderKL(**_AUTOENCODER, latent_channels=4),
        _images,
        10,
        "one in each residual block; the other activations act on sums",
    ),
    "VQModel": LibraryModel(
        lambda: VQModel(**_AUTOENCODER, latent_channels=4, num_vq_embeddings=16),
        _images,
        10,
        "one in each residual block; the other activations act on sums",
    ),
    "AutoencoderTiny_encoder": LibraryModel(
        lambda: _autoencoder_tiny().encoder,
        lambda: {"x": torch.randn(2, 3, 32, 32)},
        4,
        "two in each of two blocks, with one activation module for both",
    ),
    "AutoencoderTiny_decoder": LibraryModel(
        lambda: _autoencoder_tiny().decoder,
        lambda: {"x": torch.randn(2, 4, 8, 8)},
        4,
        "two in each of two blocks, with one activation module for both",
    ),
    "DiTTransformer2DModel": LibraryModel(
        lambda: DiTTransformer2DModel(**_TWO_BLOCKS, in_channels=4, sample_size=8, num_embeds_ada_norm=10),
        lambda: _draw(hidden_states=(2, 4, 8, 8))() | {"class_labels": torch.tensor([0, 3])},
        4,
        "a feed-forward and an embedding of the time step in each block",
    ),
    "PixArtTransformer2DModel": LibraryModel(
        lambda: PixArtTransformer2DModel(
            **_TWO_BLOCKS,
            sample_size=8,
            cross_attention_dim=32,
            caption_channels=24,
            use_additional_conditions=False,
        ),
        _draw(hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 5, 24)),
        4,
        "two blocks, the time step and the caption; more than one layer reads what is behind the time step",
    ),
    "SD3Transformer2DModel": LibraryModel(
        lambda: SD3Transformer2DModel(
            **_TWO_BLOCKS,
            sample_size=8,
            in_channels=4,
            joint_attention_dim=24,
            caption_projection_dim=32,
            pooled_projection_dim=24,
            out_channels=4,
        ),
        _draw(hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 5, 24), pooled_projections=(2, 24)),
        5,
        "images and text have their own in the first block, images alone in the last; time step; pooled text",
    ),
    "FluxTransformer2DModel": LibraryModel(
        lambda: FluxTransformer2DModel(
            **_TWO_BLOCKS | {"num_layers": 1},
            num_single_layers=1,
            in_channels=4,
            joint_attention_dim=24,
            pooled_projection_dim=24,
            axes_dims_rope=(4, 4, 8),
        ),
        lambda: (
            _draw(hidden_states=(2, 16, 4), encoder_hidden_states=(2, 5, 24), pooled_projections=(2, 24))()
            | {"img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(5, 3)}
        ),
        4,
        "what a single block activates is joined with its attention",
    ),
    "WanTransformer3DModel": LibraryModel(
        lambda: WanTransformer3DModel(**_TWO_BLOCKS, in_channels=4, out_channels=4, text_dim=24, ffn_dim=64),
        _draw(hidden_states=(2, 4, 2, 8, 8), encoder_hidden_states=(2, 5, 24)),
        4,
        "two blocks, the time step and the text; more than one layer reads what is behind the time step",
    ),
    "SanaTransformer2DModel": LibraryModel(
        lambda: SanaTransformer2DModel(
            **_TWO_BLOCKS,
            num_cross_attention_heads=2,
            cross_attention_head_dim=16,
            cross_attention_dim=32,
            in_channels=4,
            out_channels=4,
            caption_channels=24,
            sample_size=8,
            patch_size=1,
        ),
        _draw(hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 5, 24)),
        4,
        "the gated convolutions of the blocks have an activation and a depthwise convolution ahead of the gate",
    ),
    "AuraFlowTransformer2DModel": LibraryModel(
        lambda: AuraFlowTransformer2DModel(
            sample_size=8,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            num_attention_heads=2,
            attention_head_dim=16,
            joint_attention_dim=24,
            caption_projection_dim=32,
            pos_embed_max_size=16,
        ),
        _draw(hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 5, 24)),
        4,
        "three gated MLPs and the time step",
    ),
    "CogVideoXTransformer3DModel": LibraryModel(
        lambda: CogVideoXTransformer3DModel(
            **_TWO_BLOCKS,
            in_channels=4,
            out_channels=4,
            time_embed_dim=16,
            text_embed_dim=24,
            sample_width=8,
            sample_height=8,
            sample_frames=5,
            max_text_seq_length=5,
        ),
        _draw(hidden_states=(2, 2, 4, 8, 8), encoder_hidden_states=(2, 5, 24)),
        3,
    ),
    "Lumina2Transformer2DModel": LibraryModel(
        lambda: Lumina2Transformer2DModel(
            sample_size=8,
            in_channels=4,
            hidden_size=32,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=32,
            axes_dim_rope=(4, 4, 8),
            axes_lens=(16, 16, 16),
            cap_feat_dim=24,
        ),
        lambda: (
            _draw(hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 5, 24))()
            | {"encoder_attention_mask": torch.ones(2, 5, dtype=torch.bool)}
        ),
        5,
        "four gated MLPs, two of them in refiners, and the time step",
    ),
    "PriorTransformer": LibraryModel(
        lambda: PriorTransformer(**_TWO_BLOCKS, embedding_dim=24, num_embeddings=5, additional_embeddings=4),
        lambda: {
            "hidden_states": torch.randn(2, 24),
            "timestep": torch.tensor(3),
            "proj_embedding": torch.randn(2, 24),
            "encoder_hidden_states": torch.randn(2, 5, 24),
        },
        3,
    ),
}
