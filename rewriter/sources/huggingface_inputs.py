"""What a transformers model's ``forward`` takes, read from its configuration."""

from __future__ import annotations

import inspect
from typing import Any, Final

from torch import nn

from rewriter.sources.inputs import InputSpec

_SEQUENCE_LENGTH: Final = 32
_CODE_POINTS: Final = 0x110000  # Unicode's


def describe_inputs(model: nn.Module) -> tuple[InputSpec, ...]:
    """Return the inputs of a text, image or video model; ``()`` for other kinds and for composites of several models.

    Text: ``input_ids``, then ``attention_mask`` (all ones) and ``decoder_input_ids`` where ``forward`` takes them, each
    of shape ``(length,)`` with a length that may vary. Images: ``pixel_values`` of shape (channels, height, width);
    videos: with the number of frames before that.
    """
    config: Any = model.config
    accepted = inspect.signature(model.forward).parameters
    match getattr(model, "main_input_name", None):
        case "input_ids" if "pixel_values" not in accepted:
            return _text_inputs(config, accepted.keys())
        case "pixel_values" if "input_ids" not in accepted:
            return _image_inputs(config)
        case _:
            return ()


def _text_inputs(config: Any, accepted: Any) -> tuple[InputSpec, ...]:
    tokens = _vocabulary(config)
    if tokens is None:
        return ()
    longest = getattr(config, "max_position_embeddings", None) or _SEQUENCE_LENGTH
    shape = (min(_SEQUENCE_LENGTH, longest) if longest > 0 else _SEQUENCE_LENGTH,)  # XLNet's -1 is no limit
    ranges = {"input_ids": (0, tokens), "attention_mask": (1, 2), "decoder_input_ids": (0, tokens)}
    return tuple(
        InputSpec(name=name, shape=shape, dtype="int64", low=low, high=high, sequence_axis=1)
        for name, (low, high) in ranges.items()
        if name in accepted
    )


def _vocabulary(config: Any) -> int | None:
    if hasattr(config, "vocab_size"):
        return int(config.vocab_size)
    # A hash takes any number; what such models are given is characters.
    return _CODE_POINTS if hasattr(config, "num_hash_buckets") else None


def _image_inputs(config: Any) -> tuple[InputSpec, ...]:
    size = getattr(config, "image_size", None)
    if size is None:
        return ()
    height, width = (size, size) if isinstance(size, int) else size
    frames = (config.num_frames,) if hasattr(config, "num_frames") else ()
    return (InputSpec(name="pixel_values", shape=(*frames, getattr(config, "num_channels", 3), height, width)),)
