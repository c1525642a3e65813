"""What a transformers model's ``forward`` takes, read from its configuration."""

from __future__ import annotations

import inspect
from typing import Any, Final

from torch import nn

from rewriter.sources.inputs import InputSpec

_SEQUENCE_LENGTH: Final = 32


def describe_inputs(model: nn.Module) -> tuple[InputSpec, ...]:
    """Return the inputs of a text or image model; ``()`` for other kinds and for composites of several models.

    Text: ``input_ids``, then ``attention_mask`` (all ones) and ``decoder_input_ids`` where ``forward`` takes them, each
    of shape ``(length,)`` with a length that may vary. Images: ``pixel_values`` of shape (channels, height, width).
    """
    config: Any = model.config
    if getattr(config, "sub_configs", None):
        return ()
    match getattr(model, "main_input_name", None):
        case "input_ids":
            return _text_inputs(model, config)
        case "pixel_values":
            return _image_inputs(config)
        case _:
            return ()


def _text_inputs(model: nn.Module, config: Any) -> tuple[InputSpec, ...]:
    longest = getattr(config, "max_position_embeddings", None) or _SEQUENCE_LENGTH
    shape = (min(_SEQUENCE_LENGTH, longest),)
    ranges = {
        "input_ids": (0, config.vocab_size),
        "attention_mask": (1, 2),
        "decoder_input_ids": (0, config.vocab_size),
    }
    accepted = inspect.signature(model.forward).parameters
    return tuple(
        InputSpec(name=name, shape=shape, dtype="int64", low=low, high=high, sequence_axis=1)
        for name, (low, high) in ranges.items()
        if name in accepted
    )


def _image_inputs(config: Any) -> tuple[InputSpec, ...]:
    size = getattr(config, "image_size", None)
    if size is None:
        return ()
    height, width = (size, size) if isinstance(size, int) else size
    return (InputSpec(name="pixel_values", shape=(getattr(config, "num_channels", 3), height, width)),)
