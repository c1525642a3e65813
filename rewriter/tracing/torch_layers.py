"""torch's own transformer layers, which hide their MLP behind a fused fast path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder, nn.Transformer)


def is_transformer(module: nn.Module) -> bool:
    """Say whether a module is one of torch's transformer layers or stacks of them, which are opened."""
    return isinstance(module, _LAYERS + _STACKS)


def activation_attribute(module: nn.Module) -> str | None:
    """Name the attribute through which a module calls its activation function, where torch's own code is known to."""
    if isinstance(module, _LAYERS) and type(module).forward in [layer.forward for layer in _LAYERS]:
        return "activation"
    return None


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Make torch's transformer layers run their plain code, whose parts can be traced; put the setting back after."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def close_fast_path(layer: nn.Module) -> None:
    """Keep a layer whose activation was replaced off the fast path, which knows ReLU and GELU only."""
    if isinstance(layer, nn.TransformerEncoderLayer):
        layer.activation_relu_or_gelu = 0
