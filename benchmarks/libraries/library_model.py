"""One model of another library: how it is built, what it is run on, and how many MLPs a person sees in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class LibraryModel:
    """A small model with random weights.

    An MLP is a linear or convolution that makes hidden units, an activation of them, and another linear or convolution
    that is all that reads them. Between the two may stand norms, dropout, scales, depthwise convolutions, pools,
    resizing, squeeze-and-excites, sums over neighbours in a graph, changes of shape, and further activations. A gated
    MLP multiplies activated units by others. In a chain, the layer between two MLPs belongs to both. Hidden units that
    are added to or joined with others, or that several layers read, are none, and neither is what is inside recurrent
    cells and attention. Weights that run several times count once, and code that does not run not at all.

    Attributes:
        make: builds it on the CPU.
        inputs: makes the keyword arguments of its ``forward``.
        mlps: the MLPs that a person counts in its source.
        note: what is subtle about the count.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[], Mapping[str, Any]]
    mlps: int
    note: str = ""
