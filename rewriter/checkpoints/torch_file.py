"""Where the tensors of a file of ``torch.save`` lie; its pickle is read by torch's restricted reader alone."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import torch
from torch import Tensor, nn

from rewriter.checkpoints.stored import HeldTensor, Region

_ZIP: Final = b"PK\x03\x04"
_LARGEST_PICKLE: Final = 1 << 30  # bytes
# Torch's reader lets a pickle ask for an array of any length.
_ALLOCATING: Final = ("builtins bytearray", "__builtin__ bytearray")


class UnplainTensorsError(ValueError):
    """The file holds sparse, quantised or other tensors whose values are no plain array."""


def read_torch_file(file: Path) -> Any:
    """Read what ``torch.save`` wrote, with a `Stored` in the place of every tensor.

    No code in the file is run. The values of a zip archive stay where they are; files from before torch 1.6 have no
    such parts, so theirs are read.

    Raises:
        Exception: of nearly any kind: the file is damaged, wants to run code, or claims more than it has.
    """
    with file.open("rb") as opened:
        if opened.read(4) != _ZIP:
            opened.seek(0)
            return _replaced(torch.load(opened, map_location="cpu", weights_only=True), HeldTensor)
        return read_torch_archive(file, opened, 0, file.stat().st_size)


def read_trusted_file(file: Path) -> Any:
    """Unpickle what ``torch.save`` wrote with all its code, and give every tensor as a `HeldTensor`.

    A module that was saved whole becomes its state dict.

    Raises:
        Exception: whatever that code raises.
    """
    return _replaced(torch.load(file, map_location="cpu", weights_only=False), HeldTensor)


def read_torch_archive(file: Path, opened: IO[bytes], start: int, size: int) -> Any:
    """Read the zip archive of ``torch.save`` that ``opened`` gives, with a `Region` in the place of every tensor.

    Args:
        file: the file that it lies in, for the regions.
        opened: the archive, from its first byte to its last.
        start: where it begins in ``file``.
        size: its length.

    Raises:
        Exception: see `read_torch_file`.
    """
    _check_archive(opened)
    opened.seek(0)
    try:
        content = torch.load(opened, map_location="meta", weights_only=True)
    except NotImplementedError as error:
        raise UnplainTensorsError("sparse or quantised tensors") from error
    return _replaced(content, lambda tensor: _region(file, tensor, start, size))


def _check_archive(opened: IO[bytes]) -> None:
    opened.seek(0)
    with zipfile.ZipFile(opened) as archive:
        entries = archive.infolist()
        if len({entry.filename for entry in entries}) != len(entries):
            raise ValueError("an archive with a name twice")
        packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"compressed parts such as {packed[0][:80]!r}, which torch.save never writes")
        for entry in entries:
            name = PurePosixPath(entry.filename).name
            if name == "byteorder" and archive.read(entry)[:8] != b"little":
                raise ValueError("values that are not little-endian")
            if name == "data.pkl":
                _check_pickle(archive, entry)


def _check_pickle(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    if entry.file_size > _LARGEST_PICKLE:
        raise ValueError(f"a pickle of {entry.file_size} bytes")
    for opcode, argument, _ in pickletools.genops(archive.read(entry)):
        if opcode.name == "GLOBAL" and argument in _ALLOCATING:
            raise ValueError("a pickle that makes an array of any length")


def _region(file: Path, tensor: Tensor, start: int, size: int) -> Region:
    if tensor.layout is not torch.strided or type(tensor.detach()) is not Tensor:
        raise UnplainTensorsError(f"a tensor of layout {tensor.layout}")
    storage = tensor.untyped_storage()
    # Torch documents this attribute as the place of a storage whose values were not read.
    begin = getattr(storage, "_checkpoint_offset", None)
    reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)) + 1
    needed = (tensor.storage_offset() + reach) * tensor.itemsize if tensor.numel() else 0
    if begin is None or min(tensor.stride(), default=0) < 0 or needed > storage.nbytes():
        raise ValueError("a tensor outside its storage")
    if begin + storage.nbytes() > size or tensor.numel() * tensor.itemsize > storage.nbytes():
        raise ValueError(f"a tensor of {tensor.numel() * tensor.itemsize} bytes that are not in the file")
    stride = None if tensor.is_contiguous() else tensor.stride()
    offset = start + begin + tensor.storage_offset() * tensor.itemsize
    return Region(file, offset, tensor.dtype, tuple(tensor.shape), stride)


def _replaced(content: Any, store: Any) -> Any:
    """Copy nested dicts with every tensor replaced; a dict that holds itself, which a pickle may be, does too."""
    made: dict[int, Any] = {}

    def visit(value: Any) -> Any:
        if isinstance(value, Tensor):
            return store(value)
        if isinstance(value, nn.Module):  # only a trusted pickle makes one
            value = value.state_dict()
        if not isinstance(value, dict):
            return value
        if id(value) not in made:
            made[id(value)] = {}
            made[id(value)].update((key, visit(inner)) for key, inner in value.items())
        return made[id(value)]

    return visit(content)
