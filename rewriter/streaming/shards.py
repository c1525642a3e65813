"""Shards: which tensors go into which file, and what the files' headers and the index say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.checkpoints.safetensors_file import DTYPES
from rewriter.streaming.composition import OutputTensor

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Shard:
    """One file of the result.

    Attributes:
        name: its name in the folder.
        tensors: what it holds, in order: no value is then at an address that does not suit it.
    """

    name: str
    tensors: tuple[OutputTensor, ...]

    @property
    def header(self) -> bytes:
        """The file up to the first value."""
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        start = 0
        for tensor in self.tensors:
            offsets = [start, start + tensor.nbytes]
            entries[tensor.key] = {"dtype": _NAMES[tensor.dtype], "shape": tensor.shape, "data_offsets": offsets}
            start += tensor.nbytes
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)


def shards_of(tensors: Sequence[OutputTensor], largest: int) -> list[Shard]:
    """Distribute tensors over files in their order, each of at most ``largest`` bytes or of a single tensor."""
    groups: list[list[OutputTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if groups[-1] and filled + tensor.nbytes > largest:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += tensor.nbytes
    return [
        Shard(
            f"model-{number:05}-of-{len(groups):05}.safetensors",
            tuple(sorted(group, key=lambda tensor: (-tensor.dtype.itemsize, tensor.key))),
        )
        for number, group in enumerate(groups, start=1)
    ]


def index_of(shards: Sequence[Shard]) -> str:
    """Write the index of the shards, as the transformers library and this package read it."""
    placed = {tensor.key: shard.name for shard in shards for tensor in shard.tensors}
    size = sum(tensor.nbytes for shard in shards for tensor in shard.tensors)
    return json.dumps({"metadata": {"total_size": size}, "weight_map": dict(sorted(placed.items()))}, indent=2) + "\n"
