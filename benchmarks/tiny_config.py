"""Shrinking a transformers configuration by the names of its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WIDTH: Final = 32
_INNER: Final = 64
_HEADS: Final = 4
_LAYERS: Final = 2
_VOCABULARY: Final = 128
_EXPERTS: Final = 4

_SIZES: Final[tuple[tuple[int, tuple[str, ...]], ...]] = (
    (_WIDTH, (
        "hidden_size", "d_model", "n_embd", "dim", "embed_dim", "emb_dim", "embedding_size", "word_embed_proj_dim",
        "encoder_hidden_size", "decoder_hidden_size", "output_hidden_size", "conv_dim", "projection_dim", "lru_width",
        "true_hidden_size", "intra_bottleneck_size", "kv_lora_rank", "q_lora_rank", "codevector_dim", "feat_proj_dim",
        "attention_hidden_size", "neck_hidden_size", "fusion_hidden_size", "proj_codevector_dim", "hidden_dim",
    )),
    (_INNER, (
        "intermediate_size", "n_inner", "d_ff", "d_inner", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim",
        "ffn_hidden_size", "moe_intermediate_size", "shared_expert_intermediate_size", "dff", "mlp_dim",
        "decoder_intermediate_size", "shared_intermediate_size", "intermediate_size_mlp", "feed_forward_size",
    )),
    (_HEADS, (
        "num_attention_heads", "num_heads", "n_head", "n_heads", "encoder_attention_heads", "decoder_attention_heads",
        "decoder_num_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads",
        "num_key_value_heads", "num_hidden_groups_heads", "mamba_n_heads",
    )),
    (_LAYERS, (
        "num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers",
        "num_decoder_layers", "num_encoder_layers", "decoder_num_hidden_layers", "num_experts_per_tok",
        "num_experts_per_token", "num_sparse_encoder_layers", "num_sparse_decoder_layers", "moe_topk",
    )),
    (_VOCABULARY, (
        "vocab_size", "decoder_vocab_size", "src_vocab_size", "tgt_vocab_size", "vocab_size_per_layer_input",
    )),
    (_EXPERTS, ("num_experts", "num_local_experts", "n_routed_experts")),
    (_WIDTH // _HEADS, (
        "head_dim", "d_kv", "d_head", "qk_nope_head_dim", "v_head_dim", "attention_head_size", "global_head_dim",
        "num_conv_pos_embeddings", "hidden_size_per_layer_input",
    )),
    (16, ("max_source_positions", "num_mel_bins", "input_feat_per_channel")),
    (64, ("image_size", "max_position_embeddings", "n_positions", "max_target_positions", "n_ctx")),
)  # fmt: skip
_SIZE_OF: Final = {name: size for size, names in _SIZES for name in names}
# Lists run over the stages of a pyramid: each stage has twice the width and heads of the one before.
_FIRST_OF_STAGES: Final[Mapping[str, int]] = {
    name: first
    for first, names in {
        32: ("hidden_sizes", "embed_dims", "embed_dim", "neck_hidden_sizes"),
        1: ("num_heads", "num_attention_heads"),
    }.items()
    for name in names
}
_SPECIAL_TOKENS: Final = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "sep_token_id")


def tiny(config_class: type[Any], exceptions: Mapping[str, Any]) -> Any:
    """Make a small configuration of a class: about two layers of width 32 with four heads and 128 tokens.

    Only attributes that the default configuration has, with a value larger than the small one, are changed; parts
    (text, vision) are shrunk in the same way. What the class derives from others is derived anew.

    Args:
        config_class: a subclass of ``transformers.PretrainedConfig`` that can be made without arguments.
        exceptions: values that win over the general rules, nested for parts; ``...`` keeps the default.

    Returns:
        An instance of ``config_class``.
    """
    default = config_class()
    changed: dict[str, Any] = {}
    for name, value in default.to_dict().items():
        if name in default.attribute_map or name in exceptions:
            continue
        small = _smaller(name, value)
        if small != value:
            changed[name] = small
    for name, part in default.sub_configs.items():
        present = getattr(default, name, None)
        if present is not None and name not in exceptions and hasattr(part, "model_type"):
            changed[name] = tiny(type(present), {}).to_dict()
    for name, value in exceptions.items():
        if isinstance(value, Mapping) and name in default.sub_configs:
            changed[name] = tiny(type(getattr(default, name)), value).to_dict()
        elif value is not ...:
            changed[name] = value
    return config_class(**changed)


def _smaller(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if name in _SPECIAL_TOKENS:
            return value if value < _VOCABULARY else 1
        return min(value, _SIZE_OF.get(name, value))
    if isinstance(value, list | tuple) and value and all(isinstance(item, int) for item in value):
        if name in _FIRST_OF_STAGES:
            return [_FIRST_OF_STAGES[name] * 2**stage for stage in range(len(value))]
        if name == "depths":
            return [1] * len(value)
        return [min(item, _SIZE_OF.get(name, item)) for item in value]
    return value
