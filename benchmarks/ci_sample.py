"""The fixed sample of small models that the tests rewrite: one structure each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CI_SAMPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "timm": (
        "convnext_atto", "edgenext_xx_small", "efficientnet_lite0", "ghostnet_050", "hardcorenas_a", "lcnet_035",
        "mixer_s32_224", "mobilenetv3_small_050", "mobilevit_xxs", "pvt_v2_b0", "regnetx_002", "repvgg_a0", "resnet10t",
        "test_byobnet", "test_convnext", "test_efficientnet", "test_efficientnet_gn", "test_mambaout", "test_nfnet",
        "test_resnet", "test_vit", "test_vit2", "test_vit4", "tinynet_e", "xcit_nano_12_p16_224",
    ),
    "torchvision": (
        "alexnet", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18",
        "shufflenet_v2_x0_5", "squeezenet1_1",
    ),
    "transformers": (
        "albert", "bart", "bert", "bloom", "clip", "deberta-v2", "deit", "distilbert", "dinov2", "falcon", "gpt2",
        "gpt_neox", "llama", "mamba", "marian", "mixtral", "opt", "phi", "qwen3_moe", "resnet", "segformer", "swin",
        "t5", "vit", "wav2vec2", "whisper", "gemma2",
    ),
}  # fmt: skip

NOT_REWRITTEN: Final = {
    "transformers:mamba": "its output gates another value",
}
"""Models of the sample that no method rewrites, with a word of the reason that a plan gives."""
