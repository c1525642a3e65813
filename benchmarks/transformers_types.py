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
        "dbrx", "deepseek_v2", "deepseek_v3", "diffllama", "doge", "dots1", "ernie4_5", "exaone4", "falcon",
        "falcon_h1", "falcon_mamba", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2",
        "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe", "helium", "jamba", "jetmoe",
        "lfm2", "llama", "mamba", "mamba2", "minimax", "mistral", "mixtral", "mpt", "nemotron", "olmo", "olmo2",
        "olmoe", "openai-gpt", "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3",
        "qwen3_moe", "qwen3_next", "recurrent_gemma", "rwkv", "seed_oss", "smollm3", "stablelm", "starcoder2",
        "xglm", "zamba2",
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
    "several": ("altclip", "clip", "patchtst", "siglip", "vilt"),
}  # fmt: skip

EXCEPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {}
