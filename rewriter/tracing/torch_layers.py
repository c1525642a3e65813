"""torch's own transformer layers, which hide their MLP behind a fused fast path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Set

import torch
from torch import nn

_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder, nn.Transformer)


def is_transformer(module: nn.Module) -> bool:
    """Say whether a module is one of torch's transformer layers or stacks of them, which are opened."""
    return isinstance(module, _LAYERS + _STACKS)


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Make torch's transformer layers run their plain code, whose parts can be traced; put the setting back after."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def close_fast_path(model: nn.Module, layers: Set[nn.Module]) -> None:
    """Keep layers whose activation was replaced off the fast path, which knows ReLU and GELU only.

    Args:
        model: all of it; a stack of layers makes nested tensors of padded ones, which only the fast path takes.
        layers: the modules of which a part was replaced.
    """
    for layer in layers:
        if isinstance(layer, nn.TransformerEncoderLayer):
            layer.activation_relu_or_gelu = 0
    for stack in model.modules():
        if isinstance(stack, nn.TransformerEncoder) and any(layer in layers for layer in stack.layers):
            stack.use_nested_tensor = False
