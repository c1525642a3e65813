"""One model of a zoo: its names, and how it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from rewriter.sources.inputs import InputSpec


@dataclass(frozen=True)
class ZooModel:
    """A model that the coverage benchmark looks at.

    Attributes:
        library: ``timm``, ``torchvision`` or ``transformers``.
        name: its name there; a model type of transformers.
        family: the line of the result table it belongs to.
        load: makes it with random weights on the default device, in evaluation mode, and says what it takes;
            nothing when that is unknown.
        out_of_scope: why it is planned but not rewritten, or None.
    """

    library: str
    name: str
    family: str
    load: Callable[[], tuple[nn.Module, tuple[InputSpec, ...]]]
    out_of_scope: str | None = None
