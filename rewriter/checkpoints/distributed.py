"""Folders of ``torch.distributed.checkpoint``: where the parts of each tensor lie, read without torch's own pickle."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from rewriter.checkpoints.boxes import require_cover
from rewriter.checkpoints.folder_file import file_in
from rewriter.checkpoints.inert_unpickler import Inert, InertUnpickler
from rewriter.checkpoints.single_file import unreadable
from rewriter.checkpoints.stored import Assembled, Region
from rewriter.checkpoints.torch_file import read_torch_archive
from rewriter.errors import CheckpointError

_LARGEST: Final = 1 << 28  # bytes of metadata
_Sizes = tuple[int, ...]


def read_distributed(metadata: Path) -> dict[str, Any]:
    """List the tensors of a folder of ``torch.distributed.checkpoint``, in the nested dicts that were saved.

    ``torch`` itself unpickles the metadata freely; here only plain records are read from it. No value is read.

    Args:
        metadata: the file ``.metadata`` of the folder.

    Returns:
        Dicts with `Region` or `Assembled` tensors; whatever else was saved is left as an inert object.

    Raises:
        CheckpointError: the metadata names code, is damaged, or does not fit the files.
    """
    try:
        if metadata.stat().st_size > _LARGEST:
            raise ValueError(f"{metadata.stat().st_size} bytes of metadata")
        with metadata.open("rb") as file:
            root = InertUnpickler(file).load()
        entries, places, paths = (_dict(root, name) for name in ("state_dict_metadata", "storage_data", "planner_data"))
        where = {(index.get("fqn"), index.get("offset")): info for index, info in places.items()}
        nested: dict[str, Any] = {}
        for key, entry in entries.items():
            stored = _tensor(metadata.parent, key, entry, where) if entry.kind == "TensorStorageMetadata" else entry
            _put(nested, paths.get(key) or (key,), stored)
    except CheckpointError:
        raise
    except Exception as error:  # damaged pickles and archives raise nearly every built-in exception
        raise unreadable(metadata, "torch.distributed.checkpoint metadata", error) from error
    return nested


def _dict(root: Any, name: str) -> dict[Any, Any]:
    value = root.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} that is no dict")
    return value


def _tensor(folder: Path, key: str, entry: Inert, where: Mapping[Any, Inert]) -> Region | Assembled:
    dtype, shape = entry.get("properties").state[0], _sizes(entry.get("size"))
    parts = []
    for chunk in entry.get("chunks"):
        start, sizes = _sizes(chunk.get("offsets")), _sizes(chunk.get("sizes"))
        info = where.get((key, start))
        if info is None or info.get("transform_descriptors"):
            raise ValueError(f"{key[:80]!r} at {list(start)} " + ("compressed" if info else "in no file"))
        parts.append((start, _chunk(folder, info, dtype, sizes)))
    require_cover(shape, [(start, region.shape) for start, region in parts], key)
    return parts[0][1] if len(parts) == 1 else Assembled(dtype, shape, tuple(parts))


def _chunk(folder: Path, info: Inert, dtype: torch.dtype, sizes: _Sizes) -> Region:
    file = file_in(folder, info.get("relative_path"))
    offset, length = _sizes((info.get("offset"), info.get("length")))
    if offset + length > file.stat().st_size:
        raise ValueError(f"a part up to byte {offset + length} in {file.name}")
    with file.open("rb") as opened:
        found = read_torch_archive(file, io.BufferedReader(_Part(opened, offset, length)), offset, length)
    if not isinstance(found, Region) or (found.dtype, found.shape) != (dtype, sizes):
        raise ValueError(f"a part in {file.name} that is no {dtype} of {list(sizes)}")
    return found


def _sizes(values: Any) -> _Sizes:
    if not isinstance(values, tuple) or not all(type(value) is int and 0 <= value < 2**63 for value in values):
        raise ValueError("sizes that are none")
    if math.prod(values) >= 2**63:
        raise ValueError("a tensor larger than memory can be")
    return values


def _put(nested: dict[str, Any], path: Any, value: object) -> None:
    *parents, last = path
    for parent in parents:
        nested = nested.setdefault(parent, {})
    nested[last] = value


class _Part(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: io.BufferedReader, start: int, length: int) -> None:
        self._file, self._start, self._length, self._position = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._length - self._position)]
        self._file.seek(self._start + self._position)
        got = self._file.readinto(view)
        self._position += got
        return got
