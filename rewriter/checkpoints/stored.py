"""Tensors that lie in a file: what they are is known, and their values are read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from rewriter.checkpoints.read_ahead import ReadAhead
from rewriter.errors import CheckpointError


class Stored(Protocol):
    """A tensor of a checkpoint; values are read by `load` alone."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of its values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""

    def load(self) -> Tensor:
        """Read it into memory, on the CPU and contiguous."""


@dataclass(frozen=True)
class HeldTensor:
    """A tensor of a format that can only be read as a whole, and so is in memory already."""

    tensor: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """The type of its values."""
        return self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(self.tensor.shape)

    def load(self) -> Tensor:
        """Return it."""
        return self.tensor


@dataclass(frozen=True)
class Region:
    """A tensor whose values lie in one file, row after row unless strides say otherwise.

    Attributes:
        file: the file.
        offset: of the first value, in bytes.
        dtype: type of the values, little-endian.
        shape: sizes.
        stride: distances in values along each dimension; None for row after row.
    """

    file: Path
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def load(self) -> Tensor:
        """Read it into memory, contiguous.

        Raises:
            CheckpointError: the file ends before.
        """
        if self.stride is None:
            return self._read(self.nbytes).view(self.dtype).reshape(self.shape)
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype, device="cpu")
        reach = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        flat = self._read(reach * self.dtype.itemsize).view(self.dtype)
        return flat.as_strided(self.shape, self.stride).contiguous()

    def pieces(self, size: int) -> Iterator[Tensor]:
        """Yield its bytes in order, row after row, at most ``size`` at once; a piece is valid until the next one.

        Raises:
            CheckpointError: the file ends before.
        """
        if self.stride is not None:
            yield from torch.split(self.load().reshape(-1).view(torch.uint8), size)
            return
        buffer = torch.empty(min(size, self.nbytes), dtype=torch.uint8, device="cpu")
        with self.file.open("rb", buffering=0) as file:
            ahead = ReadAhead(file.fileno(), self.offset, self.offset + self.nbytes)
            for start in range(0, self.nbytes, size):
                piece = buffer[: min(size, self.nbytes - start)]
                self._fill(piece, file, start)
                ahead.reading(self.offset + start + len(piece))
                yield piece

    def _read(self, nbytes: int) -> Tensor:
        values = torch.empty(nbytes, dtype=torch.uint8, device="cpu")
        with self.file.open("rb", buffering=0) as file:
            self._fill(values, file, 0)
        return values

    def _fill(self, target: Tensor, file: FileIO, start: int) -> None:
        view, filled = target.numpy().data, 0
        file.seek(self.offset + start)
        while filled < len(view):
            got = file.readinto(view[filled:])
            if not got:
                raise CheckpointError(
                    expected=f"{self.offset + start + len(view)} bytes in {str(self.file)!r}",
                    found=f"{self.offset + start + filled}",
                    remedy="fetch the file again, and let nothing write to it meanwhile",
                )
            filled += got


@dataclass(frozen=True)
class Assembled:
    """A tensor that several regions hold, each a box of it.

    Attributes:
        dtype: type of the values.
        shape: sizes.
        parts: where each box begins, and its values; they cover the tensor once.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    parts: tuple[tuple[tuple[int, ...], Region], ...]

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def load(self) -> Tensor:
        """Read it into memory."""
        whole = torch.empty(self.shape, dtype=self.dtype, device="cpu")
        for start, region in self.parts:
            box = tuple(slice(first, first + size) for first, size in zip(start, region.shape, strict=True))
            whole[box] = region.load()
        return whole

    def pieces(self, size: int) -> Iterator[Tensor]:
        """Yield its bytes in order, at most ``size`` at once; boxes of whole rows are read one after the other."""
        if all(region.shape[1:] == self.shape[1:] for _, region in self.parts):
            for _, region in sorted(self.parts, key=lambda part: part[0]):
                yield from region.pieces(size)
        else:
            yield from torch.split(self.load().reshape(-1).view(torch.uint8), size)


StreamedTensor = Region | Assembled
