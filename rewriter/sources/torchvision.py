"""``torchvision:NAME[?key=value&…]``: a model of the torchvision library."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torchvision
from torch import nn

from rewriter.names import require_known
from rewriter.sources.construct import construct
from rewriter.sources.inputs import InputSpec, tensor_input

_USUAL_SIZE: Final = 224
_WEIGHT_OPTIONS: Final = ("weights", "weights_backbone")


def build(name: str, options: Mapping[str, Any]) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    """Create a torchvision model, untrained unless ``options`` has ``weights=…``.

    Args:
        name: a name of ``torchvision.models.list_models()``.
        options: keyword arguments of the model's builder.

    Returns:
        The model and its input: an image of the size its published weights were trained for, or the model's own
        ``image_size``. Detection, optical flow and video models take no single image: theirs is unknown, ``()``.

    Raises:
        UsageError: the name is unknown (the nearest one is named) or the builder refuses an option.
    """
    require_known(name, torchvision.models.list_models(), "torchvision model")
    accepted = inspect.signature(torchvision.models.get_model_builder(name)).parameters
    # Segmentation and detection builders download a trained backbone unless told not to.
    untrained = {option: None for option in _WEIGHT_OPTIONS if option in accepted}
    model = construct(partial(torchvision.models.get_model, name), f"torchvision:{name}", **(untrained | dict(options)))
    size = _image_size(name, model)
    return model, () if size is None else tensor_input(model, (3, size, size))


def _image_size(name: str, model: nn.Module) -> int | None:
    own = getattr(model, "image_size", None)
    if isinstance(own, int):
        return own
    published = list(torchvision.models.get_model_weights(name))
    if not published:
        return _USUAL_SIZE
    preset = published[0].transforms()
    sizes = getattr(preset, "crop_size", None) or getattr(preset, "resize_size", None) or []
    return int(sizes[0]) if len(sizes) == 1 else None
