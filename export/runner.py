"""What a loaded export is: a function from named input tensors to output tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

METADATA_FILE = "metadata.json"
"""The member of TorchScript and ``.pt2`` archives that holds the exporter's metadata."""


class Runner(Protocol):
    """Runs an exported file on CPU tensors; the inputs come in the order of the specs, the outputs in the file's."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the outputs."""
