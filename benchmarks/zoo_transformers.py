"""The transformers zoo: model types with small configurations, and what each takes."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import transformers
from torch import nn

from benchmarks.tiny_config import tiny
from benchmarks.transformers_types import EXCEPTIONS, TYPES
from benchmarks.zoo_model import ZooModel
from rewriter.sources.huggingface_inputs import describe_inputs
from rewriter.sources.inputs import InputSpec

_SAMPLES = 4000
_LENGTH = 16
_GENERATING = {"decoder": "AutoModelForCausalLM", "encoder-decoder": "AutoModelForSeq2SeqLM"}


def transformers_models() -> list[ZooModel]:
    """List every model type of the table; its family is the type."""
    return [
        ZooModel("transformers", name, name, partial(_load, name, kind))
        for kind, names in TYPES.items()
        for name in names
    ]


def _load(name: str, kind: str) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    # Small vocabularies make it warn of special tokens, model after model.
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    config = tiny(transformers.CONFIG_MAPPING[name], EXCEPTIONS.get(name, {}))
    model: nn.Module = _auto_class(config, kind).from_config(config).eval()
    return model, _inputs(model, config)


def _auto_class(config: Any, kind: str) -> Any:
    if kind == "speech" and type(config) in transformers.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING:
        return transformers.AutoModelForSpeechSeq2Seq
    return getattr(transformers, _GENERATING.get(kind, "AutoModel"))


def _inputs(model: Any, config: Any) -> tuple[InputSpec, ...]:
    known = describe_inputs(model)
    if known:
        return known
    accepted = inspect.signature(model.forward).parameters
    text = getattr(config, "text_config", config)
    vision = getattr(config, "vision_config", config)
    mels = int(getattr(config, "num_mel_bins", getattr(config, "feature_projection_input_dim", 16)))
    specs = {
        "input_ids": lambda: InputSpec(name="input_ids", shape=(_LENGTH,), dtype="int64", low=3, high=text.vocab_size),
        "pixel_values": lambda: InputSpec(
            name="pixel_values", shape=(getattr(vision, "num_channels", 3), *_square(vision))
        ),
        "input_values": lambda: InputSpec(
            name="input_values", shape=(config.max_length, mels) if hasattr(config, "num_mel_bins") else (_SAMPLES,)
        ),
        "input_features": lambda: InputSpec(
            name="input_features",
            shape=(mels, 2 * config.max_source_positions) if model.config.model_type == "whisper" else (64, mels),
        ),
        "past_values": lambda: InputSpec(
            name="past_values", shape=(config.context_length, getattr(config, "num_input_channels", 1))
        ),
        "decoder_input_ids": lambda: InputSpec(
            name="decoder_input_ids", shape=(_LENGTH,), dtype="int64", low=3, high=text.vocab_size
        ),
    }
    wanted = [name for name in specs if name in accepted and name == model.main_input_name]
    if model.main_input_name == "input_ids" and "pixel_values" in accepted and vision is not config:
        wanted.append("pixel_values")
    if "decoder_input_ids" in accepted:
        wanted.append("decoder_input_ids")
    return tuple(specs[name]() for name in wanted)


def _square(config: Any) -> tuple[int, int]:
    side = getattr(config, "image_size", 64)
    return (side, side) if isinstance(side, int) else (side[0], side[1])
