"""One model of a zoo: its names, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from rewriter.sources.inputs import InputSpec, example_inputs

Inputs = tuple[InputSpec, ...] | Mapping[str, Any]


@dataclass(frozen=True)
class ZooModel:
    """A model that the coverage benchmark looks at.

    Attributes:
        library: ``timm``, ``torchvision``, ``transformers`` or ``libraries``, which stands for all others.
        name: its name there; a model type of transformers.
        family: the line of the result table it belongs to.
        load: makes it with random weights on the default device, in evaluation mode, and says what it takes, or
            gives it where a batch dimension does not describe it, such as a graph; nothing when that is unknown.
        out_of_scope: why it is planned but not rewritten, or None.
        counted: the MLPs that a person counts in its source, or None.
        note: what is subtle about the count.
    """

    library: str
    name: str
    family: str
    load: Callable[[], tuple[nn.Module, Inputs]]
    out_of_scope: str | None = None
    counted: int | None = None
    note: str = ""


def drawn(inputs: Inputs, batch_size: int = 1, *, device: str = "cpu") -> dict[str, Any]:
    """Make keyword arguments of ``forward``: draw what is described, and take what is given as it is."""
    if isinstance(inputs, Mapping):
        return tree_map_only(torch.Tensor, lambda value: value.to(device), dict(inputs))
    return example_inputs(inputs, batch_size, device=device)
