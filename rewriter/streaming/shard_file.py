"""Writing one shard: the header first, since all lengths are known, then piece by piece."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rewriter.checkpoints.read_ahead import ReadAhead
from rewriter.errors import CheckpointError, ValidationError
from rewriter.streaming.composition import Copied, Made, OutputTensor
from rewriter.streaming.finite_pieces import has_nan, is_finite
from rewriter.streaming.new_modules import NewModule
from rewriter.streaming.shards import Shard

PIECE = 1 << 21  # bytes


@dataclass(frozen=True)
class Written:
    """A finished file: its size in bytes and its SHA-256."""

    size: int
    sha256: str


def write_shard(shard: Shard, path: Path, passed: Callable[[int], None]) -> Written:
    """Write a shard to a new file.

    Args:
        shard: what to write.
        path: the file, which must not exist.
        passed: called with the number of bytes after each piece.

    Raises:
        CheckpointError: an old tensor cannot be read, or holds NaN or infinity.
    """
    maker, header = _OneModule(), shard.header
    with path.open("xb", buffering=0) as file:
        sink = _Sink(file)
        sink.put(memoryview(header))
        passed(len(header))
        for tensor in shard.tensors:
            for piece in _pieces(tensor, maker):
                sink.put(piece.numpy().data)
                passed(len(piece))
    return sink.written


def hash_file(path: Path, passed: Callable[[int], None]) -> Written:
    """Measure a file that was written before."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        ahead = ReadAhead(file.fileno(), 0, path.stat().st_size)
        ahead.reading(0)
        while piece := file.read(PIECE):
            ahead.reading(size + len(piece))
            digest.update(piece)
            size += len(piece)
            passed(len(piece))
    return Written(size, digest.hexdigest())


class _Sink:
    def __init__(self, file: io.FileIO) -> None:
        self._file, self._digest, self._size = file, hashlib.sha256(), 0

    def put(self, view: memoryview) -> None:
        self._digest.update(view)
        self._size += len(view)
        while view:
            view = view[self._file.write(view) :]

    @property
    def written(self) -> Written:
        return Written(self._size, self._digest.hexdigest())


class _OneModule:
    """Makes new modules, and keeps the last one, whose other tensors usually follow."""

    def __init__(self) -> None:
        self._module: NewModule | None = None
        self._tensors: dict[str, Tensor] = {}

    def tensor(self, made: Made) -> Tensor:
        if made.module is not self._module:
            self._tensors = {}  # gone before the next ones come
            self._module, self._tensors = made.module, made.module.tensors()
        return self._tensors[made.name]


def _pieces(tensor: OutputTensor, maker: _OneModule) -> Iterator[Tensor]:
    match tensor.origin:
        case Copied(stored, is_parameter):
            for piece in stored.pieces(PIECE):
                wrong = not is_finite(piece, tensor.dtype) if is_parameter else has_nan(piece, tensor.dtype)
                if wrong:
                    raise CheckpointError(
                        expected="finite weights",
                        found=f"{tensor.key} with NaN or infinity",
                        remedy="use a checkpoint from before the training diverged",
                    )
                yield piece
        case Made():
            new = maker.tensor(tensor.origin)
            if (new.dtype, tuple(new.shape)) != (tensor.dtype, tensor.shape):
                raise ValidationError(
                    expected=f"{tensor.key} of {list(tensor.shape)} {tensor.dtype}",
                    found=f"{list(new.shape)} {new.dtype}",
                    remedy="report this recipe: the surgery and the stream disagree",
                )
            yield from torch.split(new.detach().contiguous().reshape(-1).view(torch.uint8), PIECE)
