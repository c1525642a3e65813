"""Which format a checkpoint file has: told by its first bytes, and checked against its suffix."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Final

from rewriter.checkpoints.folder_file import file_in
from rewriter.errors import CheckpointError


class Format(Enum):
    """A checkpoint format; the value is the tuple of suffixes that promise it."""

    SAFETENSORS = (".safetensors",)
    TORCH = (".pt", ".pth", ".th", ".bin", ".ckpt")
    INDEX = (".index.json",)
    DISTRIBUTED = (".metadata",)


_IN_FOLDER: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    ".metadata",
)
_ALL_SUFFIXES: Final = " ".join(suffix for kind in Format for suffix in kind.value)
_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = b"\x80"


def find_checkpoint(path: Path) -> Path:
    """Return ``path`` itself if it is a file, or the checkpoint file of the folder ``path``, safetensors first.

    In a folder it may be an index of shards, or the metadata of ``torch.distributed.checkpoint``.

    Raises:
        CheckpointError: there is no such file, or the folder holds none, or a link to one elsewhere.
    """
    if path.is_file():
        return path
    for name in _IN_FOLDER if path.is_dir() else ():
        if (path / name).is_symlink() or (path / name).is_file():
            return file_in(path, name)
    raise CheckpointError(
        expected=f"a checkpoint file, or a folder with one of {', '.join(_IN_FOLDER)}",
        found=f"{str(path)!r}, " + ("a folder with none of them" if path.is_dir() else "which does not exist"),
        remedy="check the path",
    )


def detect_format(path: Path) -> Format:
    """Return the format of the file ``path``.

    Raises:
        CheckpointError: the suffix promises none, the content is none, or the two disagree.
    """
    promised = next((kind for kind in Format if path.name.lower().endswith(kind.value)), None)
    if promised is None:
        raise CheckpointError(
            expected=f"a checkpoint with one of the suffixes {_ALL_SUFFIXES}",
            found=repr(str(path)),
            remedy="rename the file to what it is",
        )
    if promised in (Format.INDEX, Format.DISTRIBUTED):
        return promised
    actual = _recognise(path)
    if actual is not promised:
        raise CheckpointError(
            expected=f"a {promised.name.lower()} file, as the suffix {path.suffix} says",
            found=f"{str(path)!r} with " + ("unknown content" if actual is None else f"{actual.name.lower()} content"),
            remedy="fetch the file again" if actual is None else f"rename it to end in {actual.value[0]}",
        )
    return actual


def _recognise(path: Path) -> Format | None:
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(
            expected="a readable file", found=f"{str(path)!r}: {error.strerror}", remedy="check its permissions"
        ) from error
    # A safetensors file is the header's length in eight bytes and then the header, a JSON object.
    if head[8:] == b"{":
        return Format.SAFETENSORS
    return Format.TORCH if head.startswith((_ZIP, _PICKLE)) else None
