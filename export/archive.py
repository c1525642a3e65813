"""The metadata in TorchScript and ``.pt2`` archives, read without running or unpickling anything of them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath

from export.runner import METADATA_FILE


def archive_metadata(path: Path) -> dict[str, str]:
    """Return the entries that an export wrote into its archive; none where it wrote none.

    Raises:
        zipfile.BadZipFile: the file is no archive.
        json.JSONDecodeError: the entries are not JSON.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if PurePosixPath(name).name == METADATA_FILE:
                entries: dict[str, str] = json.loads(archive.read(name))
                return entries
    return {}
