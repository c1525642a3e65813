"""Which tensor of a checkpoint belongs to which name of a model, by names, shapes and dtypes alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from rewriter.checkpoints.layout import wrapper_prefix
from rewriter.checkpoints.listing import count_and_name
from rewriter.checkpoints.stored import HeldTensor, Stored
from rewriter.errors import CheckpointError


@dataclass(frozen=True)
class Match:
    """What a checkpoint gives to a model.

    Attributes:
        given: by the names of the model's state dict, every other name of a tied tensor included.
        tied: names of one tensor under several of which the checkpoint has values; they must be equal.
        constants: by name, buffers that the model makes itself and that the checkpoint has too; they must be equal.
    """

    given: dict[str, Stored]
    tied: tuple[tuple[str, ...], ...]
    constants: dict[str, Stored]


def match_checkpoint(model: nn.Module, tensors: Mapping[str, Stored], origin: str) -> Match:
    """Match a checkpoint with a model, on any device, ``meta`` too; no value is read.

    Every key must be there, with its shape, and no other. What the model knows by itself is not missed: the other
    names of a tied parameter, and the batch counters that batch norms gained after their first releases; nor is it
    unexpected: a constant buffer that older versions of a model saved.

    Args:
        model: the model; a prefix that wrappers give all its names is added to the checkpoint's.
        tensors: of the checkpoint, without such prefixes.
        origin: the checkpoint, for messages.

    Raises:
        CheckpointError: naming the keys that are missing, unexpected, or of another shape or kind of number.
    """
    own: dict[str, Tensor] = model.state_dict(keep_vars=True)
    prefix = wrapper_prefix(own)
    stored = {prefix + key: tensor for key, tensor in tensors.items()}
    constants = {
        name: stored.pop(name)
        for name, buffer in model.named_buffers(remove_duplicate=False)
        if name in stored and name not in own and _kind(stored[name]) == (tuple(buffer.shape), buffer.dtype)
    }
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for key, tensor in own.items():
        groups[id(tensor)].append(key)
    found = [(group, [key for key in group if key in stored]) for group in groups.values()]
    given = {key: stored[present[0]] for group, present in found if present for key in group} | stored
    _require_same_keys_and_shapes(model, own, given, origin)
    _require_convertible(own, given, origin)
    return Match(
        {key: given[key] for key in own if key in given},
        tuple(tuple(present) for _, present in found if len(present) > 1),
        constants,
    )


def unexpected_constant(model: nn.Module, origin: str, key: str) -> CheckpointError:
    """Make the error for a buffer whose value in the checkpoint is not the model's own."""
    return _other_model(model, origin, {"unexpected": [key]})


def _require_same_keys_and_shapes(
    model: nn.Module, own: Mapping[str, Tensor], given: Mapping[str, Stored], origin: str
) -> None:
    counters = {
        f"{name}.num_batches_tracked".lstrip(".")
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _NormBase)
    }
    differences = {
        "missing": own.keys() - given.keys() - counters,
        "unexpected": given.keys() - own.keys(),
        "of another shape": [
            f"{key} {list(given[key].shape)} for {list(tensor.shape)}"
            for key, tensor in own.items()
            if key in given and given[key].shape != tuple(tensor.shape)
        ],
    }
    if any(differences.values()):
        raise _other_model(model, origin, differences)


def _other_model(model: nn.Module, origin: str, differences: Mapping[str, Collection[str]]) -> CheckpointError:
    return CheckpointError(
        expected=f"the {len(model.state_dict())} tensors of {type(model).__name__}",
        found=f"{origin} with {count_and_name(differences)}",
        remedy="build the model with the options the checkpoint was trained with",
    )


def _require_convertible(own: Mapping[str, Tensor], given: Mapping[str, Stored], origin: str) -> None:
    refused = [
        f"{key}: {given[key].dtype}" for key in own if key in given and not _is_convertible(given[key], own[key].dtype)
    ]
    if refused:
        raise CheckpointError(
            expected="plain weights in the model's own kind of number",
            found=f"{origin} with {count_and_name({'quantised, packed or of another kind': refused})}",
            remedy="use the checkpoint from before it was quantised",
        )


def _is_convertible(source: Stored, target: torch.dtype) -> bool:
    if isinstance(source, HeldTensor) and (source.tensor.layout is not torch.strided or source.tensor.is_meta):
        return False
    both_float = source.dtype.is_floating_point and target.is_floating_point and source.dtype.itemsize > 1
    return both_float or source.dtype == target


def _kind(stored: Stored) -> tuple[tuple[int, ...], torch.dtype]:
    return stored.shape, stored.dtype
