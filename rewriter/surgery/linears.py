"""New linears in the place of old ones, with everything but the shape and the values kept."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn

from rewriter.errors import UsageError
from rewriter.recipe import LinearRecord
from rewriter.tracing.names import ModuleNames


def resized_linear(names: ModuleNames, record: LinearRecord, seed: int) -> nn.Linear:
    """Make the linear that a recipe puts at a path, randomly initialised as torch initialises a linear.

    Device, dtype, bias, ``requires_grad`` and train/eval mode are those of the linear that stands there. The values
    depend on the seed and the path alone, so they are the same on every device and in every order.

    Raises:
        UsageError: the model has no such linear: the recipe was made for another one.
    """
    old = names.modules.get(record.path)
    found = _shape(old) if isinstance(old, nn.Linear) else type(old).__name__ if old is not None else "nothing"
    if not isinstance(old, nn.Linear) or (old.in_features, old.out_features) != record.before:
        raise UsageError(
            expected=f"a linear {record.before[0]}→{record.before[1]} at {record.path}",
            found=found,
            remedy="apply the recipe to the model it was made for",
        )
    fan_in, fan_out = record.after
    # The meta device first: no values are drawn from, and none change, the global random state.
    new = nn.Linear(fan_in, fan_out, bias=record.bias, device="meta", dtype=old.weight.dtype)
    if old.weight.device.type != "meta":
        new = new.to_empty(device=old.weight.device)
        _initialise(new, _generator(seed, record.path))
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(old.get_parameter(name).requires_grad)
    return new.train(old.training)


def _initialise(linear: nn.Linear, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(linear.in_features)
    with torch.no_grad():
        for parameter in linear.parameters():
            values = torch.empty(parameter.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
            parameter.copy_(values)


def _generator(seed: int, path: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{path}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _shape(linear: nn.Linear) -> str:
    return f"a linear {linear.in_features}→{linear.out_features}"
