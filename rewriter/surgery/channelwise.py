"""New norms, scales and depthwise convolutions in the place of old ones, for another hidden width."""

from __future__ import annotations

from torch import nn

from rewriter.channelwise import per_channel, resized
from rewriter.errors import UsageError
from rewriter.recipe import ChannelwiseRecord
from rewriter.surgery.initial_values import draw
from rewriter.tracing.names import ModuleNames


def resized_channelwise(names: ModuleNames, record: ChannelwiseRecord, seed: int) -> nn.Module:
    """Make the layer that a recipe puts at a path, of the class, device, dtype and mode of the one that stands there.

    A depthwise convolution is drawn as torch initialises it, from the seed and the path alone; see `resized` for the
    values of other layers.

    Raises:
        UsageError: the model has no such layer: the recipe was made for another one.
    """
    old = names.modules.get(record.path)
    if old is None or not _fits(old, record):
        raise UsageError(
            expected=f"a layer of {record.before} channels at {record.path}",
            found=type(old).__name__ if old is not None else "nothing",
            remedy="apply the recipe to the model it was made for",
        )
    new = resized(old, record.before, record.after, branches=record.branches)
    weight = getattr(new, "weight", None)
    if isinstance(new, nn.Conv1d | nn.Conv2d | nn.Conv3d) and weight is not None and weight.device.type != "meta":
        draw(new.parameters(), weight[0].numel(), seed=seed, path=record.path)
    return new


def _fits(layer: nn.Module, record: ChannelwiseRecord) -> bool:
    own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
    widths = {tensor.numel() // record.before for tensor in own if tensor.numel() >= record.before}
    known = record.before in vars(layer).values() or (record.before,) in vars(layer).values()
    return per_channel(layer, record.before) == record.per_channel and (known or (bool(widths) and 0 not in widths))
