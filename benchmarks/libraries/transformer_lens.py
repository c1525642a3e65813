"""Transformers of transformer_lens, every value of which goes through a hook point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformer_lens import HookedTransformer, HookedTransformerConfig

from benchmarks.libraries.library_model import LibraryModel


def _tokens() -> dict[str, Tensor]:
    return {"input": torch.randint(0, 64, (2, 8))}


def _transformer(act_fn: str, **options: Any) -> nn.Module:
    sizes = {"n_layers": 2, "d_model": 32, "n_ctx": 16, "d_head": 16, "d_vocab": 64, "d_mlp": 64}
    return HookedTransformer(HookedTransformerConfig(**sizes, act_fn=act_fn, device="cpu", seed=0, **options))


MODELS: Final[Mapping[str, LibraryModel]] = {
    "gelu": LibraryModel(lambda: _transformer("gelu"), _tokens, 2),
    "gelu_new": LibraryModel(lambda: _transformer("gelu_new", normalization_type="LNPre"), _tokens, 2),
    "gated_silu": LibraryModel(
        lambda: _transformer("silu", gated_mlp=True, normalization_type="RMS", positional_embedding_type="rotary"),
        _tokens,
        2,
    ),
    "relu_parallel": LibraryModel(lambda: _transformer("relu", parallel_attn_mlp=True), _tokens, 2),
}
