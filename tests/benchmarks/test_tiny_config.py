"""Shrinking configurations."""

from __future__ import annotations

import pytest
import transformers

from benchmarks.tiny_config import tiny
from benchmarks.transformers_types import TYPES
from benchmarks.zoo import zoo


def test_only_what_is_larger_than_the_small_size_changes() -> None:
    config = tiny(transformers.BertConfig, {})
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 2, 4)
    assert config.type_vocab_size == transformers.BertConfig().type_vocab_size
    assert config.hidden_act == transformers.BertConfig().hidden_act


def test_parts_are_shrunk_too() -> None:
    config = tiny(transformers.CLIPConfig, {})
    assert config.text_config.hidden_size == config.vision_config.hidden_size == 32


def test_exceptions_win() -> None:
    assert tiny(transformers.BertConfig, {"num_hidden_layers": 3}).num_hidden_layers == 3


def test_special_tokens_are_in_the_vocabulary() -> None:
    config = tiny(transformers.GPT2Config, {})
    assert max(config.bos_token_id, config.eos_token_id) < config.vocab_size


def test_the_table_has_at_least_eighty_types_each_known_and_named_once() -> None:
    names = [name for types in TYPES.values() for name in types]
    assert len(names) >= 80
    assert len(set(names)) == len(names)
    assert set(names) <= set(transformers.CONFIG_MAPPING.keys())


@pytest.mark.parametrize("name", ["llama", "t5", "vit", "wav2vec2"])
def test_a_model_of_each_kind_is_small(name: str) -> None:
    (entry,) = zoo("transformers", "all", [name])
    model, inputs = entry.load()
    assert inputs
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000


@pytest.mark.parametrize("name", ["llama", "t5", "whisper"])
def test_decoders_and_encoder_decoders_can_generate(name: str) -> None:
    (entry,) = zoo("transformers", "all", [name])
    model, _ = entry.load()
    assert model.can_generate()
