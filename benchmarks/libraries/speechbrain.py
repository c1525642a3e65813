"""Encoders of speechbrain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from speechbrain.lobes.models.transformer.Branchformer import BranchformerEncoder
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.lobes.models.VanillaNN import VanillaNN
from speechbrain.lobes.models.Xvector import Xvector
from torch import Tensor

from benchmarks.libraries.library_model import LibraryModel


def _frames(name: str) -> dict[str, Tensor]:
    return {name: torch.randn(2, 20, 16)}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "TransformerEncoder": LibraryModel(
        lambda: TransformerEncoder(num_layers=2, nhead=2, d_ffn=32, d_model=16), lambda: _frames("src"), 2
    ),
    "ConformerEncoder": LibraryModel(
        lambda: ConformerEncoder(
            num_layers=2, d_model=16, d_ffn=32, nhead=2, kernel_size=3, attention_type="regularMHA"
        ),
        lambda: _frames("src"),
        6,
        "two feed-forwards and a gated convolution in each layer",
    ),
    "BranchformerEncoder": LibraryModel(
        lambda: BranchformerEncoder(
            num_layers=2, d_model=16, nhead=2, kernel_size=3, attention_type="regularMHA", csgu_linear_units=32
        ),
        lambda: _frames("src"),
        2,
        "gated, with the activation on both halves",
    ),
    "VanillaNN": LibraryModel(
        lambda: VanillaNN(input_shape=[None, None, 16], dnn_blocks=3, dnn_neurons=32),
        lambda: _frames("x"),
        2,
        "its last activation is the output",
    ),
    "Xvector": LibraryModel(
        lambda: Xvector(in_channels=16, tdnn_channels=[16, 16, 16, 16, 24], lin_neurons=8),
        lambda: _frames("x"),
        4,
        "mean and deviation of the last are joined",
    ),
}
