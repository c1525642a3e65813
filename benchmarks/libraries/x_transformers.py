"""Transformers of x_transformers with several of its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from x_transformers import (
    ContinuousTransformerWrapper,
    Decoder,
    Encoder,
    TransformerWrapper,
    ViTransformerWrapper,
    XTransformer,
)

from benchmarks.libraries.library_model import LibraryModel

_SIZES: Final[dict[str, Any]] = {"dim": 32, "depth": 2, "heads": 2, "attn_dim_head": 16}


def _tokens() -> dict[str, Tensor]:
    return {"x": torch.randint(0, 64, (2, 12))}


def _decoder(**options: Any) -> nn.Module:
    return TransformerWrapper(num_tokens=64, max_seq_len=16, attn_layers=Decoder(**_SIZES, **options))


MODELS: Final[Mapping[str, LibraryModel]] = {
    "Decoder": LibraryModel(_decoder, _tokens, 2),
    "Decoder_swiglu": LibraryModel(
        lambda: _decoder(ff_glu=True, ff_swish=True, ff_no_bias=True, rotary_pos_emb=True), _tokens, 2
    ),
    "Decoder_relu_squared": LibraryModel(lambda: _decoder(ff_relu_squared=True), _tokens, 2),
    "Decoder_post_act_norm": LibraryModel(lambda: _decoder(ff_post_act_ln=True, ff_dropout=0.1), _tokens, 2),
    "Decoder_gated_attention": LibraryModel(
        lambda: _decoder(attn_gate_values=True, use_rmsnorm=True), _tokens, 2, "attention has gates of its own"
    ),
    "Decoder_dynamic_bias": LibraryModel(
        lambda: _decoder(dynamic_pos_bias=True), _tokens, 4, "an MLP of two hidden layers makes biases from distances"
    ),
    "Decoder_macaron": LibraryModel(lambda: _decoder(macaron=True), _tokens, 4, "two in each layer"),
    "Decoder_gru_residual": LibraryModel(lambda: _decoder(gate_residual=True), _tokens, 2),
    "Encoder": LibraryModel(
        lambda: TransformerWrapper(num_tokens=64, max_seq_len=16, attn_layers=Encoder(**_SIZES, ff_glu=True)),
        _tokens,
        2,
    ),
    "XTransformer": LibraryModel(
        lambda: XTransformer(
            dim=32,
            enc_num_tokens=64,
            enc_depth=1,
            enc_heads=2,
            enc_max_seq_len=16,
            dec_num_tokens=64,
            dec_depth=1,
            dec_heads=2,
            dec_max_seq_len=16,
        ),
        lambda: {"src": _tokens()["x"], "tgt": _tokens()["x"]},
        2,
        "its forward returns a loss",
    ),
    "ViTransformerWrapper": LibraryModel(
        lambda: ViTransformerWrapper(image_size=32, patch_size=8, num_classes=4, attn_layers=Encoder(**_SIZES)),
        lambda: {"img": torch.randn(2, 3, 32, 32)},
        2,
    ),
    "ContinuousTransformerWrapper": LibraryModel(
        lambda: ContinuousTransformerWrapper(dim_in=6, dim_out=3, max_seq_len=16, attn_layers=Encoder(**_SIZES)),
        lambda: {"x": torch.randn(2, 12, 6)},
        2,
    ),
}
