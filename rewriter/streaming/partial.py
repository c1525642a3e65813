"""The unfinished result of a stream: a hidden sibling of the output folder that a second run can go on with."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rewriter.errors import UsageError
from rewriter.streaming.shard_file import Written

_JOURNAL = "journal.jsonl"
_RESULT = "result"
_TRIES, _PAUSE = 20, 0.1  # seconds
_WRITING = ".writing"  # ends the names of files that no journal knows yet


class Partial:
    """The folder of an unfinished result, held by one process.

    The journal's first line names the work; every other one a finished file with its size and hash. The finished
    shards lie in a folder of their own, which is renamed to the output folder at the end.

    Args:
        folder: the folder, locked.
        directory: the output folder.
    """

    def __init__(self, folder: Path, directory: Path) -> None:
        self.folder = folder
        self.directory = directory
        self.result = folder / _RESULT

    def begin(self, work: str) -> dict[str, Written]:
        """Go on with what is there if it is of the same work, else start anew.

        Returns:
            What the journal calls finished, by name; the files are still to be checked.
        """
        known = self._journal()
        if known is None or known[0] != work:
            self.clear()
            fresh = self.folder / f"{_JOURNAL}{_WRITING}"
            fresh.write_text(json.dumps({"work": work}) + "\n", encoding="utf-8")
            fresh.rename(self.folder / _JOURNAL)
            known = (work, {})
        for stale in self.folder.glob(f"*{_WRITING}"):
            stale.unlink()
        self.result.mkdir(exist_ok=True)
        return known[1]

    def is_only_to_be_removed(self, work: str) -> bool:
        """Say whether a run ended between the renaming and the removal of the rest."""
        known = self._journal()
        if known is None or known[0] != work or self.result.exists():
            return False
        files = {self.directory / name: written.size for name, written in known[1].items() if "/" not in name}
        return all(file.is_file() and file.stat().st_size == size for file, size in files.items())

    def scratch(self, name: str) -> Path:
        """Give a path to write a shard to; no other process writes there."""
        return self.folder / f"{name}.{os.getpid()}{_WRITING}"

    def note(self, name: str, written: Written) -> None:
        """Write into the journal that a file is finished."""
        line = json.dumps({"file": name, "size": written.size, "sha256": written.sha256}) + "\n"
        with (self.folder / _JOURNAL).open("ab", buffering=0) as journal:
            journal.write(line.encode())

    def finish(self) -> None:
        """Rename the result to the output folder, and remove the rest."""
        if self.result.exists():
            os.rename(self.result, self.directory)
        self.clear()

    def clear(self) -> None:
        """Remove everything inside.

        Raises:
            UsageError: something in the folder is none of this program's.
        """
        names = {path.name for path in self.folder.iterdir()}
        foreign = sorted(name for name in names - {_JOURNAL, _RESULT} if not name.endswith(_WRITING))
        if foreign:
            raise UsageError(
                expected=f"an unfinished result in {self.folder}",
                found=f"{foreign[0]}, which this program did not write",
                remedy="move it away, or name another output folder",
            )
        if self.result.is_dir():
            shutil.rmtree(self.result)
        for path in sorted(self.folder.iterdir()):
            path.unlink()

    def _journal(self) -> tuple[str, dict[str, Written]] | None:
        try:
            lines = (self.folder / _JOURNAL).read_text(encoding="utf-8").splitlines()
            work = json.loads(lines[0])["work"]
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return None
        finished: dict[str, Written] = {}
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                finished[entry["file"]] = Written(entry["size"], entry["sha256"])
            except (ValueError, KeyError, TypeError):  # a kill cut the last line short
                continue
        return work, finished


@contextmanager
def partial_of(directory: Path) -> Iterator[Partial]:
    """Hold the folder in which the output folder ``directory`` comes to be; it is made if there is none.

    Raises:
        UsageError: it cannot be made, or another process holds it.
    """
    folder = directory.absolute().parent / f".{directory.name}.partial"
    try:
        folder.mkdir(exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise UsageError(
            expected=f"to make the folder {folder}", found=error.strerror or str(error), remedy="check its parent"
        ) from error
    try:
        same = _lock(held) and folder.exists() and os.fstat(held).st_ino == folder.stat().st_ino
        if not same:
            raise UsageError(
                expected=f"to be the only process that writes {directory}",
                found="another one",
                remedy="wait for it, or name another output folder",
            )
        yield Partial(folder, directory.absolute())
    finally:
        with suppress(OSError):  # it stays if there is something in it to go on with
            folder.rmdir()
        os.close(held)


def _lock(held: int) -> bool:
    """Lock a folder; for a moment after a kill, the workers of the run that ended still hold it."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False
