"""Speech models of torchaudio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torchaudio.models import Conformer, ConvTasNet, DeepSpeech, Emformer, Wav2Letter, wav2vec2_model

from benchmarks.libraries.library_model import LibraryModel


def _frames() -> dict[str, Tensor]:
    return {"input": torch.randn(2, 12, 16), "lengths": torch.tensor([12, 12])}


def _wav2vec2(*, layer_norm: bool) -> nn.Module:
    return wav2vec2_model(
        extractor_mode="layer_norm" if layer_norm else "group_norm",
        extractor_conv_layer_config=[(16, 10, 5), (16, 3, 2)],
        extractor_conv_bias=False,
        encoder_embed_dim=32,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=8,
        encoder_pos_conv_groups=4,
        encoder_num_layers=2,
        encoder_num_heads=2,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=64,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=layer_norm,
        encoder_layer_drop=0.0,
        aux_num_out=5,
    )


def _waves() -> dict[str, Tensor]:
    return {"waveforms": torch.randn(2, 800)}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "Conformer": LibraryModel(
        lambda: Conformer(input_dim=16, num_heads=2, ffn_dim=32, num_layers=2, depthwise_conv_kernel_size=3),
        _frames,
        6,
        "two feed-forwards and a gated convolution in each layer",
    ),
    "Emformer": LibraryModel(lambda: Emformer(16, 2, 32, 2, segment_length=4, right_context_length=0), _frames, 2),
    "Wav2Letter": LibraryModel(
        lambda: Wav2Letter(num_classes=5, input_type="mfcc", num_features=8),
        lambda: {"x": torch.randn(2, 8, 200)},
        10,
        "a softmax reads the last activation",
    ),
    "DeepSpeech": LibraryModel(
        lambda: DeepSpeech(n_feature=8, n_hidden=16, n_class=5),
        lambda: {"x": torch.randn(2, 1, 12, 8)},
        3,
        "a ReLU that is clipped by a second activation; a recurrent kernel reads one",
    ),
    "wav2vec2": LibraryModel(
        lambda: _wav2vec2(layer_norm=False),
        _waves,
        4,
        "one between the convolutions, one on to the projection, two in the encoder",
    ),
    "wav2vec2_layer_norm": LibraryModel(
        lambda: _wav2vec2(layer_norm=True),
        _waves,
        4,
        "one between the convolutions, one on to the projection, two in the encoder",
    ),
    "ConvTasNet": LibraryModel(
        lambda: ConvTasNet(
            enc_kernel_size=8,
            enc_num_feats=16,
            msk_num_feats=8,
            msk_num_hidden_feats=16,
            msk_num_layers=2,
            msk_num_stacks=1,
        ),
        lambda: {"input": torch.randn(2, 1, 400)},
        1,
        "two layers read the hidden units of every block but the last",
    ),
}
