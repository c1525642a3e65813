"""Arrays from NumPy's files, with what a file claims checked before memory is taken for it."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

_LARGEST: Final = 1 << 32  # bytes that arrays may have whatever the size of their file
_COMPRESSION: Final = 100  # and how many times the file's size beyond that
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def numpy_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a ``.npz`` file by name, or the one of a ``.npy`` file under the name ``""``.

    Raises:
        ValueError: an array claims other bytes than it has, is not of numbers, or has its name twice; or all are far
            larger than their file.
        Exception: of nearly any kind, for damaged bytes.
    """
    if path.suffix == ".npy":
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # fails where the file is shorter than it claims
        return {"": np.array(mapped)}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename.removesuffix(".npy") for entry in entries]
        total = sum(entry.file_size for entry in entries)
        if len(set(names)) != len(names):
            raise ValueError("an archive with a name twice")
        if total > max(_LARGEST, _COMPRESSION * path.stat().st_size):
            raise ValueError(f"{total} bytes in a file of {path.stat().st_size}")
        return {name: _member(archive, entry) for name, entry in zip(names, entries, strict=True)}


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as member:
        _check_header(member, entry)
    with archive.open(entry) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return array


def _check_header(member: IO[bytes], entry: zipfile.ZipInfo) -> None:
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = _HEADERS[version](member)
    given, needed = entry.file_size - member.tell(), math.prod(shape) * dtype.itemsize
    if needed != given:
        raise ValueError(f"{entry.filename[:80]!r} with {given} bytes for {needed}")
