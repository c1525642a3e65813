"""Which model types of transformers are covered, and where the general way of shrinking one does not do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "encoder": (
        "albert", "bert", "big_bird", "camembert", "canine", "convbert", "data2vec-text", "deberta", "deberta-v2",
        "distilbert", "electra", "ernie", "esm", "eurobert", "flaubert", "fnet", "funnel", "ibert", "layoutlm",
        "longformer", "megatron-bert", "mobilebert", "modernbert", "mpnet", "nomic_bert", "nystromformer", "reformer",
        "rembert", "roberta", "roformer", "splinter", "squeezebert", "tapas", "xlm", "xlm-roberta", "xlnet", "xmod",
        "yoso",
    ),
    "decoder": (
        "afmoe", "apertus", "arcee", "bamba", "biogpt", "bitnet", "bloom", "codegen", "cohere", "cohere2", "ctrl",
        "deepseek_v2", "deepseek_v3", "diffllama", "doge", "dots1", "ernie4_5", "exaone4", "falcon",
        "falcon_h1", "falcon_mamba", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2",
        "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe", "helium", "jamba", "jetmoe",
        "lfm2", "llama", "mamba", "mamba2", "minimax", "mistral", "mixtral", "mpt", "nemotron", "olmo", "olmo2",
        "olmoe", "openai-gpt", "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3",
        "qwen3_moe", "qwen3_next", "recurrent_gemma", "rwkv", "seed_oss", "smollm3", "stablelm", "starcoder2",
        "xglm",
    ),
    "encoder-decoder": (
        "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5", "m2m_100", "marian",
        "mbart", "mt5", "mvp", "nllb-moe", "pegasus", "plbart", "prophetnet", "switch_transformers", "t5", "umt5",
    ),
    "vision": (
        "beit", "bit", "convnext", "convnextv2", "cvt", "data2vec-vision", "deit", "dinov2", "dinov3_vit", "dpt",
        "efficientnet", "focalnet", "glpn", "hiera", "ijepa", "levit", "mobilenet_v1", "mobilenet_v2", "mobilevit",
        "mobilevitv2", "poolformer", "pvt", "pvt_v2", "regnet", "resnet", "segformer", "siglip_vision_model",
        "swiftformer", "swin", "swinv2", "timesformer", "videomae", "vit", "vit_mae", "vit_msn", "vivit", "yolos",
    ),
    "speech": (
        "audio-spectrogram-transformer", "data2vec-audio", "hubert", "sew", "speech_to_text", "unispeech",
        "unispeech-sat", "wav2vec2", "wav2vec2-bert", "wav2vec2-conformer", "wavlm", "whisper",
    ),
    "several": ("altclip", "clip", "patchtst", "siglip"),
}  # fmt: skip

_ONE_GROUP: Final = {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}

# Values that belong together, and blocks of which two layers would show only one kind.
EXCEPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8},
    "bit": {"num_groups": 8},
    "codegen": {"rotary_dim": 4},
    "deepseek_v2": {"num_experts_per_tok": 2, "qk_rope_head_dim": 8, **_ONE_GROUP},
    "deepseek_v3": {"qk_rope_head_dim": 8, **_ONE_GROUP},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, **_ONE_GROUP},
    "efficientnet": {"hidden_dim": 320, "width_coefficient": 0.25, "depth_coefficient": 0.5},
    "esm": {"vocab_size": 128, "pad_token_id": 1, "mask_token_id": 2},
    "funnel": {"architectures": ["FunnelModel"]},
    "glm4_moe": _ONE_GROUP,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2},
    "longt5": {"decoder_start_token_id": 0},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilevit": {"neck_hidden_sizes": [8, 16, 16, 24, 32, 40, 48]},
    "mobilevitv2": {"width_multiplier": 0.25},
    "nemotron": {"num_key_value_heads": 4},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"axial_pos_embds_dim": [8, 24], "axial_pos_shape": [4, 16]},
    "swin": {"window_size": 4, "image_size": 128},
    "switch_transformers": {"decoder_start_token_id": 0},
    "t5": {"decoder_start_token_id": 0},
    "timesformer": {"num_frames": 4},
    "videomae": {"num_frames": 4},
    "vivit": {"num_frames": 4},
    "xmod": {"default_language": "en_XX"},
}
