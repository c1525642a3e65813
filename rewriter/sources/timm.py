"""``timm:NAME[?key=value&…]``: a model of the timm library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import timm
from torch import nn

from rewriter.errors import UsageError
from rewriter.names import require_known
from rewriter.sources.construct import construct
from rewriter.sources.inputs import InputSpec, tensor_input


def build(name: str, options: Mapping[str, Any]) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    """Create a timm model, untrained unless ``options`` has ``pretrained=true``.

    Args:
        name: a name of ``timm.list_models()``, with or without a pretrained tag after a dot.
        options: keyword arguments of ``timm.create_model``.

    Returns:
        The model, and its input as the model's configuration and the options ``in_chans`` and ``img_size`` say.

    Raises:
        UsageError: the name is unknown (the nearest one is named) or the constructor refuses an option.
    """
    architecture, _, _ = name.partition(".")
    require_known(architecture, timm.list_models(), "timm model")
    if "checkpoint_path" in options:
        raise UsageError(
            expected="weights through --checkpoint, which is strict",
            found="the option checkpoint_path",
            remedy="give the file to --checkpoint instead",
        )
    model = construct(partial(timm.create_model, name), f"timm:{name}", **options)
    configured = getattr(model, "pretrained_cfg", {}).get("input_size")
    return model, () if configured is None else tensor_input(model, _input_shape(configured, options))


def _input_shape(configured: Sequence[int], options: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return (channels, height, width); timm leaves the published sizes in ``pretrained_cfg`` when options differ."""
    channels, *size = configured
    size = options.get("img_size", size)
    height, width = (size, size) if isinstance(size, int) else size
    return options.get("in_chans", channels), height, width
