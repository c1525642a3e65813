"""Models of the tabular packages rtdl_revisiting_models and rtdl_num_embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from rtdl_num_embeddings import LinearReLUEmbeddings, PeriodicEmbeddings, PiecewiseLinearEmbeddings
from rtdl_revisiting_models import MLP, FTTransformer, ResNet
from torch import Tensor, nn

from benchmarks.libraries.library_model import LibraryModel

_FEATURES: Final = 6


def _rows() -> dict[str, Tensor]:
    return {"x": torch.randn(4, _FEATURES)}


def _embedded_rows() -> dict[str, Tensor]:
    return {"input": torch.randn(4, _FEATURES)}


def _mixed_rows() -> dict[str, Tensor]:
    return {"x_cont": torch.randn(4, _FEATURES), "x_cat": torch.randint(0, 3, (4, 2))}


def _ft_transformer(**options: object) -> nn.Module:
    sizes = FTTransformer.get_default_kwargs(n_blocks=2) | {"d_block": 32, "attention_n_heads": 4} | options
    return FTTransformer(n_cont_features=_FEATURES, cat_cardinalities=[3, 4], d_out=2, **sizes)


def _embedded(embeddings: nn.Module, width: int) -> nn.Module:
    """Put an MLP of two hidden layers behind embeddings, as the documentation of the package does."""
    head = MLP(d_in=_FEATURES * width, d_out=2, n_blocks=2, d_block=32, dropout=0.1)
    return nn.Sequential(embeddings, nn.Flatten(), head)


def _bins() -> list[Tensor]:
    return [torch.linspace(-2, 2, 5) for _ in range(_FEATURES)]


MODELS: Final[Mapping[str, LibraryModel]] = {
    "MLP": LibraryModel(lambda: MLP(d_in=_FEATURES, d_out=2, n_blocks=3, d_block=32, dropout=0.1), _rows, 3),
    "ResNet": LibraryModel(
        lambda: ResNet(
            d_in=_FEATURES, d_out=2, n_blocks=3, d_block=16, d_hidden_multiplier=2.0, dropout1=0.1, dropout2=0.0
        ),
        _rows,
        3,
        "the activation of the head acts on the sum of the blocks",
    ),
    "FTTransformer_ReGLU": LibraryModel(
        _ft_transformer, _mixed_rows, 2, "the activation of the head acts on the sum of the blocks"
    ),
    "FTTransformer_ReLU": LibraryModel(
        lambda: _ft_transformer(_is_default=False, ffn_activation="ReLU"),
        _mixed_rows,
        2,
        "the activation of the head acts on the sum of the blocks",
    ),
    "MLP_LinearReLU": LibraryModel(
        lambda: _embedded(LinearReLUEmbeddings(_FEATURES, 8), 8),
        _embedded_rows,
        2,
        "an embedding scales and shifts each feature by itself, which is no linear",
    ),
    "MLP_Periodic": LibraryModel(
        lambda: _embedded(PeriodicEmbeddings(_FEATURES, 8, lite=False), 8),
        _embedded_rows,
        3,
        "the linear of the embedding has own weights for each feature",
    ),
    "MLP_PeriodicLite": LibraryModel(
        lambda: _embedded(PeriodicEmbeddings(_FEATURES, 8, lite=True), 8),
        _embedded_rows,
        3,
        "the activation of the embedding reaches the next linear through a flatten",
    ),
    "MLP_PiecewiseLinear": LibraryModel(
        lambda: _embedded(PiecewiseLinearEmbeddings(_bins(), 8, activation=True, version="B"), 8),
        _embedded_rows,
        2,
        "the activation of the embedding acts on a sum of two maps",
    ),
}
