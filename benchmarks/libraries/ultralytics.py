"""YOLO networks of ultralytics, whose licence is the AGPL: nothing but this benchmark imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from ultralytics.nn.tasks import ClassificationModel, DetectionModel

from benchmarks.libraries.library_model import LibraryModel

_JOINED: Final = "what goes to more than one layer or is joined is none"


def _images() -> dict[str, Tensor]:
    return {"x": torch.randn(1, 3, 64, 64)}


MODELS: Final[Mapping[str, LibraryModel]] = {
    "yolov8n_cls": LibraryModel(
        lambda: ClassificationModel("yolov8n-cls.yaml", nc=4, verbose=False),
        _images,
        16,
        f"six bottlenecks and ten from layer to layer; {_JOINED}",
    ),
    "yolov8n": LibraryModel(
        lambda: DetectionModel("yolov8n.yaml", nc=4, verbose=False),
        _images,
        29,
        f"ten bottlenecks, seven from layer to layer, twelve in the heads; {_JOINED}",
    ),
    "yolo11n": LibraryModel(
        lambda: DetectionModel("yolo11n.yaml", nc=4, verbose=False),
        _images,
        32,
        f"eleven bottlenecks, one feed-forward, eight from layer to layer, twelve in the heads; {_JOINED}",
    ),
}
