"""The timm and torchvision zoos: every architecture and its family."""

from __future__ import annotations

from functools import cache, partial

import timm
import torch
import torchvision
from torch import nn

from benchmarks.zoo_model import ZooModel
from rewriter.counting import count_parameters
from rewriter.sources.inputs import InputSpec
from rewriter.sources.source import load_source

# What torchvision's groups take in place of one image, or hold in place of float weights.
_OUT_OF_SCOPE = {
    "detection": "takes a list of images of different sizes",
    "segmentation": "gives an image per class, not a vector",
    "video": "takes clips, not images",
    "optical_flow": "takes two images and iterates",
    "quantization": "is made for quantised weights",
}


def timm_models() -> list[ZooModel]:
    """List every timm architecture; its family is the module that defines it, such as ``vision_transformer``."""
    return [
        ZooModel("timm", name, _module(timm.models.model_entrypoint(name))[-1], partial(_load, f"timm:{name}"))
        for name in timm.list_models()
    ]


def torchvision_models() -> list[ZooModel]:
    """List every torchvision architecture; its family is its module below ``torchvision.models``."""
    models = []
    for name in torchvision.models.list_models():
        group, *rest = _module(torchvision.models.get_model_builder(name))[2:]
        models.append(
            ZooModel(
                "torchvision",
                name,
                ".".join([group, *rest]),
                partial(_load, f"torchvision:{name}"),
                out_of_scope=_OUT_OF_SCOPE.get(group),
            )
        )
    return models


@cache
def size(model: ZooModel) -> int:
    """Count the parameters of an architecture, without making its weights where its constructor allows that."""
    try:
        with torch.device("meta"):
            return count_parameters(model.load()[0])
    except Exception:  # some constructors read the values that they make
        return count_parameters(model.load()[0])


def _load(source: str) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    loaded = load_source(source)
    return loaded.model, loaded.inputs


def _module(function: object) -> list[str]:
    return str(getattr(function, "__module__", "")).split(".")
