"""Image-text models of open_clip, with small configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from open_clip import CLIP, CoCa, CustomTextCLIP
from torch import Tensor, nn

from benchmarks.libraries.library_model import LibraryModel

_VISION: Final[dict[str, Any]] = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
_TEXT: Final[dict[str, Any]] = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2}


def _pairs(side: int = 32) -> dict[str, Tensor]:
    return {"image": torch.randn(2, 3, side, side), "text": torch.randint(1, 64, (2, 8))}


def _coca() -> nn.Module:
    coca = CoCa(
        32,
        multimodal_cfg=_TEXT | {"layers": 1},
        text_cfg=_TEXT | {"embed_cls": True, "output_tokens": True},
        vision_cfg=_VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    )
    nn.init.normal_(coca.text_decoder.text_projection)  # its constructor leaves it as the memory was
    return coca


MODELS: Final[Mapping[str, LibraryModel]] = {
    "CLIP": LibraryModel(lambda: CLIP(32, _VISION, _TEXT), _pairs, 4),
    "CLIP_quick_gelu": LibraryModel(lambda: CLIP(32, _VISION, _TEXT, quick_gelu=True), _pairs, 4),
    "CLIP_resnet": LibraryModel(
        lambda: CLIP(32, _VISION | {"layers": (1, 1, 1, 1), "width": 8, "image_size": 64}, _TEXT),
        lambda: _pairs(64),
        12,
        "two in the stem, two in each of four bottlenecks, two in the text",
    ),
    "CustomTextCLIP": LibraryModel(lambda: CustomTextCLIP(32, _VISION, _TEXT), _pairs, 4),
    "CoCa": LibraryModel(
        _coca,
        _pairs,
        6,
        "two in the images, two in the text, two in the layer of the decoder",
    ),
}
