"""The timm and torchvision zoos: every architecture and its family."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

import timm
import torch
import torchvision
from torch import nn

from benchmarks.zoo_model import ZooModel
from rewriter.counting import count_parameters
from rewriter.sources.inputs import InputSpec, tensor_input
from rewriter.sources.source import load_source

_SMALL_SIDE: Final = 160  # pixels; larger images are halved where the architecture takes any size
_FRAMES: Final = 16
# torchvision's groups whose forward takes no single tensor: planned, but not rewritten and run.
_NOT_RUN: Final = {
    "detection": "planned only: it takes a list of images of different sizes",
    "optical_flow": "planned only: it takes two images and iterates",
}


def timm_models() -> list[ZooModel]:
    """List every timm architecture; its family is the module that defines it, such as ``vision_transformer``."""
    return [
        ZooModel("timm", name, _module(timm.models.model_entrypoint(name))[-1], partial(_load_timm, name))
        for name in timm.list_models()
    ]


def torchvision_models() -> list[ZooModel]:
    """List every torchvision architecture; its family is its module below ``torchvision.models``."""
    loaders: dict[str, Callable[[str], tuple[nn.Module, tuple[InputSpec, ...]]]] = {
        "video": _load_video,
        "quantization": _load_quantised,
    }
    models = []
    for name in torchvision.models.list_models():
        group, *rest = _module(torchvision.models.get_model_builder(name))[2:]
        load = partial(loaders.get(group, _load_torchvision), name)
        models.append(ZooModel("torchvision", name, ".".join([group, *rest]), load, out_of_scope=_NOT_RUN.get(group)))
    return models


@cache
def size(model: ZooModel) -> int:
    """Count the parameters of an architecture, without making its weights where its constructor allows that."""
    try:
        with torch.device("meta"):
            return count_parameters(model.load()[0])
    except Exception:  # some constructors read the values that they make
        return count_parameters(model.load()[0])


def _load_timm(name: str) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    loaded = load_source(f"timm:{name}")
    published: dict[str, Any] = loaded.model.pretrained_cfg  # type: ignore[assignment]
    if published.get("fixed_input_size"):
        return loaded.model, loaded.inputs
    return loaded.model, _smaller(loaded.inputs, published.get("min_input_size"))


def _load_torchvision(name: str) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    loaded = load_source(f"torchvision:{name}")
    if hasattr(loaded.model, "image_size"):  # it takes no other, and an untrained one not always the published one
        return loaded.model, loaded.inputs
    published = list(torchvision.models.get_model_weights(name))
    least = published[0].meta.get("min_size") if published else None
    return loaded.model, _smaller(loaded.inputs, (1, *least) if least and min(least) > 1 else None)


def _load_video(name: str) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    model = load_source(f"torchvision:{name}").model
    preset = next(iter(torchvision.models.get_model_weights(name))).transforms()
    return model, tensor_input(model, (3, _FRAMES, *preset.crop_size))


def _load_quantised(name: str) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    loaded = load_source(f"torchvision:{name}?quantize=true")
    return loaded.model, loaded.inputs


def _smaller(inputs: tuple[InputSpec, ...], least: tuple[int, ...] | None) -> tuple[InputSpec, ...]:
    """Make images smaller: the least size that is published, else half of the usual one."""
    if len(inputs) != 1 or max(inputs[0].shape[1:]) <= _SMALL_SIDE:
        return inputs
    channels, *sides = inputs[0].shape
    small = least[1:] if least else [-(-side // 64) * 32 for side in sides]
    return (inputs[0].model_copy(update={"shape": (channels, *small)}),)


def _module(function: object) -> list[str]:
    return str(getattr(function, "__module__", "")).split(".")
