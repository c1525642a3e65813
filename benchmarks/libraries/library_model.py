"""One model of another library: how it is built, what it is run on, and how many MLPs a person sees in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class LibraryModel:
    """A small model with random weights.

    An MLP is a linear or convolution, an activation, and another linear or convolution that is all that reads the
    hidden units. Between them may stand norms, dropout, depthwise convolutions, pools, resizing, squeeze-and-excites
    and changes of shape; a gated MLP multiplies the activated half by another. Two MLPs in a chain share the layer
    between them. What a skip connection or a join also reads, a gate of its own right, and what runs in recurrent
    kernels or attention is none. Weights that run several times count once, code that does not run not at all.

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
