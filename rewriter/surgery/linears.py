"""New linears in the place of old ones, with everything but the shape and the values kept."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn

from rewriter.errors import UsageError
from rewriter.layouts import layout_of
from rewriter.recipe import LinearRecord
from rewriter.tracing.names import ModuleNames


def resized_linear(names: ModuleNames, record: LinearRecord, seed: int) -> nn.Module:
    """Make the layer that a recipe puts at a path, randomly initialised as torch initialises a linear.

    Kind of layer, device, dtype, bias, ``requires_grad`` and train/eval mode are those of the layer that stands there.
    The values depend on the seed and the path alone, so they are the same on every device and in every order.

    Raises:
        UsageError: the model has no such layer: the recipe was made for another one.
    """
    old = names.modules.get(record.path)
    layout = layout_of(old)
    if old is None or layout is None or layout.features(old) != record.before:
        shape = "{}→{}".format(*layout.features(old)) if layout is not None else ""
        raise UsageError(
            expected=f"a linear {record.before[0]}→{record.before[1]} at {record.path}",
            found=f"{type(old).__name__} {shape}".strip() if old is not None else "nothing",
            remedy="apply the recipe to the model it was made for",
        )
    # The meta device first: no values are drawn from, and none change, the global random state.
    new = layout.make(old, *record.after)
    device = old.get_parameter("weight").device
    if device.type != "meta":
        new = new.to_empty(device=device)
        _initialise(new, record.after[0], _generator(seed, record.path))
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(old.get_parameter(name).requires_grad)
    return new.train(old.training)


def _initialise(linear: nn.Module, fan_in: int, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        for parameter in linear.parameters():
            values = torch.empty(parameter.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
            parameter.copy_(values)


def _generator(seed: int, path: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{path}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
