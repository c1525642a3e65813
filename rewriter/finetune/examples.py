"""Examples to learn from: any number of inputs, with or without labels, given by batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from rewriter.errors import UsageError

Change = Callable[[Tensor], Tensor]

_HELD_OUT = 10
_MOST_HELD_OUT = 5000


@dataclass(frozen=True)
class Batch:
    """Some examples.

    Attributes:
        inputs: keyword arguments of ``forward``, or its first argument as a tensor.
        labels: int64 classes; None without labels.
    """

    inputs: Tensor | dict[str, Tensor]
    labels: Tensor | None

    @property
    def mask(self) -> Tensor | None:
        """Where the outputs mean something, as far as the inputs say so."""
        return self.inputs.get("attention_mask") if isinstance(self.inputs, dict) else None

    def to(self, device: Any) -> Batch:
        """Move it to a device."""
        moved = (
            {name: tensor.to(device) for name, tensor in self.inputs.items()}
            if isinstance(self.inputs, dict)
            else self.inputs.to(device)
        )
        return replace(self, inputs=moved, labels=self.labels.to(device) if self.labels is not None else None)


class Examples(Protocol):
    """A set of examples."""

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""

    def __len__(self) -> int:
        """Return how many there are."""

    def batch(self, indices: Sequence[int], change: Change | None = None) -> Batch:
        """Give some of them.

        Args:
            indices: which.
            change: augmentation of images ``[N, C, H, W]``, whose pixels are 0 where they are black; others ignore it.
        """


@dataclass(frozen=True)
class Part:
    """Some of the examples of a set."""

    whole: Examples
    chosen: tuple[int, ...]

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""
        return self.whole.labelled

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.chosen)

    def batch(self, indices: Sequence[int], change: Change | None = None) -> Batch:
        """Give some of them; see `Examples`."""
        return self.whole.batch([self.chosen[index] for index in indices], change)


def hold_out(examples: Examples, seed: int) -> tuple[Examples, Examples]:
    """Split examples into those to train on and a tenth, 5,000 at most, to measure on.

    Raises:
        UsageError: there are too few.
    """
    count = min(len(examples) // _HELD_OUT, _MOST_HELD_OUT)
    if not count:
        raise UsageError(
            expected=f"at least {_HELD_OUT} examples, of which a tenth is held out",
            found=str(len(examples)),
            remedy="give more, or others to measure on with --test",
        )
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed)).tolist()
    return Part(examples, tuple(order[count:])), Part(examples, tuple(order[:count]))


def endless_order(count: int, batch_size: int, seed: int, first: int) -> Iterator[list[int]]:
    """Yield the indices of the batches from batch ``first`` on, without end.

    Every pass over the examples has an order of its own, and batches run on from one pass into the next.
    """
    position, orders = first * batch_size, dict[int, list[int]]()
    while True:
        places = range(position, position + batch_size)
        passes = {place // count for place in places}
        orders = {number: orders.get(number) or _order(count, seed, number) for number in passes}
        yield [orders[place // count][place % count] for place in places]
        position += batch_size


def _order(count: int, seed: int, number: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    return torch.randperm(count, generator=generator).tolist()
