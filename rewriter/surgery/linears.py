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
    new = hollow_linear(names, record)
    fill_linear(new, names.modules[record.path], record, seed)
    return new


def hollow_linear(names: ModuleNames, record: LinearRecord) -> nn.Module:
    """Make the layer that a recipe puts at a path, on the ``meta`` device: all of it but the memory and the values.

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
    # On the meta device no values are drawn from the global random state.
    new: nn.Module = layout.make(old, *record.after) if record.rank is None else LowRank.of(old, record)
    return new.train(old.training)


def fill_linear(new: nn.Module, old: nn.Module, record: LinearRecord, seed: int) -> None:
    """Give a hollow layer its memory and values, on the device of the layer in whose place it comes.

    Args:
        new: what `hollow_linear` made, or a layer that took its parameters over.
        old: the layer that the model has.
        record: of the recipe.
        seed: of the rewrite.
    """
    device = old.get_parameter("weight").device
    for path, part, fan_in in _parts(new, record):
        for name, hollow in list(part.named_parameters(recurse=False)):
            before = old.get_parameter(name)
            values = torch.empty_like(hollow, device=device, memory_format=_memory_format(before))
            part.register_parameter(name, nn.Parameter(values, before.requires_grad))
        if device.type != "meta":
            draw(part.parameters(recurse=False), fan_in, seed=seed, path=path)


def _parts(new: nn.Module, record: LinearRecord) -> Iterator[tuple[str, nn.Module, int]]:
    fan_in = record.after[0] * record.taps
    if isinstance(new, LowRank):
        yield f"{record.path}.reduce", new.reduce, fan_in
        yield f"{record.path}.branch", new.branch, new.rank
    else:
        yield record.path, new, fan_in


def _memory_format(weight: Tensor) -> torch.memory_format:
    for known in {4: [torch.channels_last], 5: [torch.channels_last_3d]}.get(weight.dim(), []):
        if torch.empty(weight.shape, device="meta", memory_format=known).stride() == weight.stride():
            return known
    return torch.contiguous_format
