"""Digests of files: which bytes a model was made from, and which were written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from rewriter.checkpoints.folder_file import file_in
from rewriter.errors import CheckpointError


class FileDigest(BaseModel):
    """What tells a file's bytes from any others.

    Attributes:
        name: of the file, without its folder.
        size: in bytes.
        sha256: of its bytes, 64 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def digest_file(file: Path) -> FileDigest:
    """Digest one file, in constant memory.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            return FileDigest(name=file.name, size=opened.tell(), sha256=digest)
    except OSError as error:
        raise CheckpointError(
            expected="a readable file", found=f"{str(file)!r}: {error.strerror}", remedy="check its permissions"
        ) from error


def digest_files(files: Iterable[Path]) -> tuple[FileDigest, ...]:
    """Digest files of one checkpoint, each once, in the order of their names.

    Raises:
        CheckpointError: one cannot be read.
    """
    return tuple(digest_file(file) for file in sorted(set(files), key=lambda file: file.name))


def require_unchanged(directory: Path, digests: Iterable[FileDigest]) -> None:
    """Check that files are byte for byte what they were when their digests were taken.

    Raises:
        CheckpointError: one is missing, is a link out of the folder, or has other bytes.
    """
    for recorded in digests:
        file = file_in(directory, recorded.name)
        size = file.stat().st_size
        found = digest_file(file) if size == recorded.size else None
        if found != recorded:
            raise CheckpointError(
                expected=f"{str(file)!r} as it was written, {recorded.size} bytes with sha256 {recorded.sha256[:16]}…",
                found=f"{size} bytes" + (f" with sha256 {found.sha256[:16]}…" if found else ""),
                remedy="fetch the folder again; weights trained since are saved to a folder of their own",
            )
