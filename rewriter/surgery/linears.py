"""New linears in the place of old ones, with everything but the shape and the values kept."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rewriter.errors import UsageError
from rewriter.layouts import layout_of
from rewriter.recipe import LinearRecord
from rewriter.surgery.initial_values import draw
from rewriter.surgery.low_rank import LowRank
from rewriter.tracing.names import ModuleNames


def resized_linear(names: ModuleNames, record: LinearRecord, seed: int) -> nn.Module:
    """Make the layer that a recipe puts at a path, randomly initialised as torch initialises a linear.

    Kind of layer, device, dtype, memory format, bias, ``requires_grad`` and train/eval mode are those of the layer that
    stands there. The values depend on the seed and the path alone, so they are the same on every device and in every
    order.

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
    new: nn.Module = layout.make(old, *record.after) if record.rank is None else LowRank.of(old, record)
    device = old.get_parameter("weight").device
    new = new.to_empty(device=device)
    for name, parameter in new.named_parameters():
        parameter.data = torch.empty_like(parameter, memory_format=_memory_format(old.get_parameter(_last(name))))
    if device.type != "meta":
        for path, part, fan_in in _parts(new, record):
            draw(part.parameters(), fan_in, seed=seed, path=path)
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(old.get_parameter(_last(name)).requires_grad)
    return new.train(old.training)


def _parts(new: nn.Module, record: LinearRecord) -> Iterator[tuple[str, nn.Module, int]]:
    fan_in = record.after[0] * record.taps
    if isinstance(new, LowRank):
        yield f"{record.path}.reduce", new.reduce, fan_in
        yield f"{record.path}.branch", new.branch, new.rank
    else:
        yield record.path, new, fan_in


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _memory_format(weight: Tensor) -> torch.memory_format:
    for known in {4: [torch.channels_last], 5: [torch.channels_last_3d]}.get(weight.dim(), []):
        if torch.empty(weight.shape, device="meta", memory_format=known).stride() == weight.stride():
            return known
    return torch.contiguous_format
