"""Which tensors of a state dict a rewrite kept, changed, added and removed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class TensorChange(BaseModel):
    """A tensor whose shape is another one, or that is there on one side alone.

    Attributes:
        name: in the state dict.
        before: its shape in the original; None when it is new.
        after: its shape in the rewritten model; None when it is gone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None


class Names(BaseModel):
    """The names of both state dicts.

    Attributes:
        unchanged: with the same bits on both sides.
        changed: with another shape, dtype or value.
        uncompared: with the same shape and dtype, where the original's values are not known.
        new: of the rewritten model alone.
        gone: of the original alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unchanged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    uncompared: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def compare_names(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Names:
    """Sort the names of two state dicts; tensors on the ``meta`` device have no values to compare."""
    groups: dict[str, list[str]] = {"unchanged": [], "changed": [], "uncompared": []}
    for name, old in before.items():
        if name in after:
            groups[_kind(old, after[name])].append(name)
    return Names(
        **{kind: tuple(names) for kind, names in groups.items()},
        new=tuple(name for name in after if name not in before),
        gone=tuple(name for name in before if name not in after),
    )


def changes_of_shape(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[TensorChange]:
    """List the tensors that have another shape, are new or are gone, in the order of the original."""
    changes = []
    for name in dict.fromkeys([*before, *after]):
        shapes = tuple(tuple(state[name].shape) if name in state else None for state in (before, after))
        if shapes[0] != shapes[1]:
            changes.append(TensorChange(name=name, before=shapes[0], after=shapes[1]))
    return changes


def _kind(old: Tensor, new: Tensor) -> str:
    if old.shape != new.shape or old.dtype != new.dtype:
        return "changed"
    if old.is_meta or new.is_meta:
        return "uncompared"
    return "unchanged" if torch.equal(_bits(old), _bits(new)) else "changed"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
