"""Files of a checkpoint folder, named by data that somebody else wrote: they must lie in the folder itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rewriter.errors import CheckpointError

_LONGEST: Final = 255  # bytes, of any usual file system


def file_in(folder: Path, name: object) -> Path:
    """Give the path of a regular file that lies directly in a folder.

    Raises:
        CheckpointError: the name is no plain file name, there is no such file, or it is a symbolic link to elsewhere.
    """
    plain = isinstance(name, str) and name not in ("", ".", "..") and name.isprintable() and not set(name) & set("/\\:")
    if not isinstance(name, str) or not plain or len(name.encode()) > _LONGEST:
        raise _refused(f"names of files in {str(folder)!r}", repr(name)[:80], "do not use this checkpoint")
    path = folder / name
    if path.is_symlink() and path.resolve().parent != folder.resolve():
        raise _refused(
            f"{name} in {str(folder)!r}",
            "a symbolic link that leaves the folder",
            "copy the file in its place, or name the file itself",
        )
    if not path.is_file():
        raise _refused(f"a file {name} in {str(folder)!r}", "none", "fetch the missing file")
    return path


def _refused(expected: str, found: str, remedy: str) -> CheckpointError:
    return CheckpointError(expected=expected, found=found, remedy=remedy)
