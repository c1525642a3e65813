"""The text that names data."""

from __future__ import annotations

from pathlib import Path

from rewriter.errors import UsageError
from rewriter.finetune.data.arrays import read_arrays
from rewriter.finetune.data.pictures import read_image_folder, read_torchvision
from rewriter.finetune.data.takes import Takes
from rewriter.finetune.data.text import read_lines
from rewriter.finetune.examples import Examples
from rewriter.sources.spec import parse_query

_FORM = "an image folder, FILE.npz, FILE.txt[.gz] or torchvision:NAME?root=DIR&…"


def read_examples(text: str, takes: Takes) -> Examples:
    """Open the data that a text names.

    Args:
        text: a folder of images, one sub-folder for each class; an ``.npz`` file; a text file, plain or gzip; or
            ``torchvision:NAME?root=DIR&key=value…``.
        takes: what the model takes.

    Raises:
        UsageError: it is none of these, or it cannot be read.
    """
    scheme, colon, rest = text.partition(":")
    name, _, query = rest.partition("?")
    if colon and scheme == "torchvision":
        return read_torchvision(name, parse_query(query), takes)
    path = Path(text)
    if path.is_dir():
        return read_image_folder(path, takes)
    if path.is_file() and path.suffix == ".npz":
        return read_arrays(path, takes)
    if path.is_file():
        return read_lines(path, takes)
    raise UsageError(expected=f"data: {_FORM}", found=f"{text}, which does not exist", remedy="check the path")
