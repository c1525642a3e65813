"""Which files a checkpoint consists of."""

from __future__ import annotations

from pathlib import Path

from rewriter.checkpoints.folder_file import file_in
from rewriter.checkpoints.formats import Format, detect_format, find_checkpoint
from rewriter.checkpoints.reading import stored_tensors
from rewriter.checkpoints.sharded import weight_map
from rewriter.checkpoints.stored import Assembled, Region, Stored


def files_of(path: Path) -> tuple[Path, ...]:
    """List the files that hold the values of a checkpoint's tensors; no pickle of theirs is run.

    Raises:
        CheckpointError: there is no such checkpoint, or its index cannot be read safely.
    """
    file = find_checkpoint(path)
    kind = detect_format(file)
    found = {file}
    if kind is Format.INDEX:
        found = {file_in(file.parent, name) for name in weight_map(file).values()}
    elif kind is Format.DISTRIBUTED:
        found = {part for stored in stored_tensors(file).values() for part in _files(stored)}
    return tuple(sorted(found))


def _files(stored: Stored) -> set[Path]:
    if isinstance(stored, Assembled):
        return {region.file for _, region in stored.parts}
    return {stored.file} if isinstance(stored, Region) else set()
