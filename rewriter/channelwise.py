"""Channelwise layers: norms, scales and depthwise convolutions, whose parameters belong to one channel each.

They follow the hidden width when it changes. Ahead of an activation that is split into n branches they see ``n·h``
channels, branch after branch. BatchNorm, InstanceNorm, scales and depthwise convolutions treat each channel by itself;
GroupNorm gets n times the groups, so that no group mixes branches. LayerNorm, RMSNorm and the like normalise over all
``n·h`` channels at once: their class stays what it is, and with equal branches their mean and variance are those of
one branch, so that equal branches still compute the original function.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Maker = Callable[[Tensor, list[int]], Tensor]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAST = (nn.LayerNorm, nn.RMSNorm)
_NORMS = (_NormBase, nn.GroupNorm, *_LAST)
_WIDTHS = ("num_features", "num_channels", "num_parameters", "in_channels", "out_channels")


def channels_of(
    layer: nn.Module | None, channels_dim: int, known: dict[tuple[object, ...], bool] | None = None
) -> int | None:
    """Give the number of channels of a channelwise layer, or None for any other module.

    Args:
        layer: any module. Torch's own norms, PReLU and depthwise convolutions are known; another library's class is one
            if all its parameters and buffers are vectors of one length, or scalars, and it commutes with tiling: on a
            small random input with doubled channels it gives its output twice.
        channels_dim: the dimension of the values that holds the channels, 1 or -1.
        known: what was found out before about layers that differ in their number of channels alone.
    """
    if layer is None or isinstance(layer, torch.jit.ScriptModule) or "forward" in vars(layer):
        return None
    channels = _channels(layer)
    if channels is None or channels < 2:
        return None
    if _is_torchs_own(layer):
        fits = channels_dim == -1 if isinstance(layer, _LAST) else channels_dim == 1 or isinstance(layer, _NORMS)
        return channels if fits else None
    found = known if known is not None else {}
    key = (channels_dim, *_structure(layer, channels))
    if key not in found:
        found[key] = _commutes_with_tiling(layer, channels, channels_dim)
    return channels if found[key] else None


def _structure(layer: nn.Module, channels: int) -> Iterator[object]:
    """Yield what a layer is, its channels apart."""
    for name, module in layer.named_modules():
        plain = {key: value for key, value in vars(module).items() if isinstance(value, bool | int | float | str)}
        yield name, type(module), tuple(sorted((k, v if v != channels else "channels") for k, v in plain.items()))
    yield divisor(layer, channels)


def per_channel(layer: nn.Module, channels: int) -> int:
    """Count the parameters that a channelwise layer has for each of its channels."""
    return sum(p.numel() // channels for p in layer.parameters(recurse=False) if p.numel() >= channels)


def divisor(layer: nn.Module, channels: int) -> int:
    """Give the number that must divide the channels of a channelwise layer: the groups of a GroupNorm, else 1."""
    groups: Any = getattr(layer, "num_groups", 1)
    return int(groups) if groups != channels else 1


def resized(layer: nn.Module, before: int, after: int, *, branches: int = 1, make: Maker | None = None) -> nn.Module:
    """Make a channelwise layer of another number of channels, like ``layer`` in all else.

    Norms of torch start as torch starts them; the values of other layers are the means of the old ones.

    Args:
        layer: what stands there now; it is not changed.
        before: its number of channels.
        after: the new number, all branches together.
        branches: how many branches these channels hold, one after the other.
        make: makes the new tensor of a given shape from an old one, to fill the layer otherwise.
    """
    new = copy.copy(layer)
    for name, value in vars(new).items():
        if isinstance(value, dict):
            vars(new)[name] = copy.copy(value)
    new._modules = copy.deepcopy(new._modules)
    registries: tuple[dict[str, Any], ...] = (new._parameters, new._buffers)
    for registry in registries:
        for name, old in registry.items():
            if old is None:
                continue
            shape = [after if d == _dimension(layer, old, before) else size for d, size in enumerate(old.shape)]
            values = (make or _mean)(old.detach(), shape)
            registry[name] = nn.Parameter(values, old.requires_grad) if isinstance(old, nn.Parameter) else values
    for name, value in _sizes(layer, before, after, branches):
        setattr(new, name, value)
    if make is None and isinstance(new, _NORMS):
        new.reset_parameters()
    return new


def _channels(layer: Any) -> int | None:
    if isinstance(layer, _CONVOLUTIONS):
        depthwise = layer.groups == layer.in_channels == layer.out_channels and not list(layer.children())
        return int(layer.in_channels) if depthwise else None
    if isinstance(layer, _LAST) and _is_torchs_own(layer):
        return int(layer.normalized_shape[0]) if len(layer.normalized_shape) == 1 else None
    if isinstance(layer, _NORMS) and _is_torchs_own(layer):
        return int(vars(layer).get("num_features") or vars(layer).get("num_channels", 0))
    if _is_torchs_own(layer) and not isinstance(layer, nn.PReLU):
        return None
    inside = [tensor for child in layer.children() for tensor in (*child.parameters(), *child.buffers())]
    own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
    lengths: set[int] = {tensor.numel() for tensor in own if tensor.numel() != 1}
    if inside or len(lengths) != 1 or any(max(tensor.shape, default=1) != tensor.numel() for tensor in own):
        return None
    return lengths.pop()


def _is_torchs_own(layer: nn.Module) -> bool:
    return str(getattr(type(layer).forward, "__module__", "")).startswith("torch.nn.")


def _dimension(layer: nn.Module, tensor: Tensor, channels: int) -> int:
    return 0 if isinstance(layer, _CONVOLUTIONS) else next((d for d, n in enumerate(tensor.shape) if n == channels), -1)


def _mean(old: Tensor, shape: list[int]) -> Tensor:
    if list(old.shape) == shape:
        return old.clone()
    return old.float().mean().to(old.dtype).expand(shape).clone()


def _sizes(layer: Any, before: int, after: int, branches: int) -> Iterator[tuple[str, Any]]:
    for name in _WIDTHS:
        if getattr(layer, name, None) == before:
            yield name, after
    if isinstance(layer, _CONVOLUTIONS):
        yield "groups", after
    if hasattr(layer, "num_groups"):
        yield "num_groups", after if layer.num_groups == before else layer.num_groups * branches
    if getattr(layer, "normalized_shape", None) == (before,):
        yield "normalized_shape", (after,)


def _commutes_with_tiling(layer: nn.Module, channels: int, channels_dim: int) -> bool:
    generator = torch.Generator().manual_seed(0)
    few = 4 * divisor(layer, channels)

    def drawn(old: Tensor, shape: list[int]) -> Tensor:
        return torch.rand(shape, generator=generator) + 0.5

    def tiled(old: Tensor, shape: list[int]) -> Tensor:
        grown = [d for d, n in enumerate(shape) if n != old.shape[d]]
        return torch.cat([old, old], grown[0]) if grown else old.clone()

    try:
        once = resized(layer, channels, few, make=drawn).eval()
        twice = resized(once, few, 2 * few, branches=2, make=tiled).eval()
    except Exception:  # another library's class may hold its tensors in any way
        return False
    for rank in (4, 3, 2, 5):
        sizes = [2, 7, 9, 8][: rank - 1]
        sizes.insert(1 if channels_dim == 1 else len(sizes), few)
        x = torch.randn(sizes, generator=generator)
        try:
            with torch.no_grad():
                single, double = once(x), twice(torch.cat([x, x], channels_dim))
                same = single.shape[channels_dim] == few and torch.allclose(
                    double, torch.cat([single, single], channels_dim), rtol=1e-3, atol=1e-4
                )
        except Exception:  # it does not take inputs of this rank
            continue
        return bool(same)
    return False
