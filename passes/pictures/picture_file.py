"""Writing a picture to a file."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from rewriter.errors import UsageError

# Dates and version numbers, so that the same picture is the same .png whenever it is made.
_LEFT_OUT: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def save_picture(figure: Figure, path: Path, dots_per_inch: float = 160.0) -> None:
    """Write a picture, in the format that the suffix names; nothing is written if it cannot be drawn.

    Args:
        figure: the picture.
        path: the file; one that exists is replaced.
        dots_per_inch: the resolution of a .png.

    Raises:
        UsageError: the suffix is none of .png, .svg and .pdf, the folder does not exist, or the file cannot be written.
    """
    _require_place(path)
    kind = path.suffix.removeprefix(".")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, dpi=dots_per_inch, metadata=_LEFT_OUT[kind])
    try:
        path.write_bytes(drawn.getvalue())
    except OSError as error:
        raise UsageError(
            expected=f"a file that can be written at {path}",
            found=str(error.strerror),
            remedy="name another",
        ) from error


def _require_place(path: Path) -> None:
    if path.suffix.removeprefix(".") not in _LEFT_OUT:
        raise UsageError(
            expected=f"a file that ends in {', '.join(f'.{one}' for one in _LEFT_OUT)}",
            found=repr(path.name),
            remedy="choose one of those",
        )
    if not path.parent.is_dir():
        raise UsageError(
            expected="a folder that exists for the picture",
            found=str(path.parent),
            remedy="make the folder first, or name another",
        )
    if path.is_dir():
        raise UsageError(expected="the name of a file", found=f"the folder {path}", remedy="name another")
