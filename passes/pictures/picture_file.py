"""Writing a picture to a file."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from rewriter.errors import UsageError

# What would differ from one run to the next, or from one version of the software to the next, is left out of a file.
_LEFT_OUT: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def require_picture_path(path: Path) -> None:
    """Check that a picture can be written to ``path``.

    Raises:
        UsageError: its suffix is none of .png, .svg and .pdf, its folder does not exist, or it is a folder itself.
    """
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


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture, in the format that the suffix names; nothing is written if it cannot be drawn.

    Raises:
        UsageError: as :func:`require_picture_path` does, or the file cannot be written.
    """
    require_picture_path(path)
    kind = path.suffix.removeprefix(".")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, metadata=_LEFT_OUT[kind])
    try:
        path.write_bytes(drawn.getvalue())
    except OSError as error:
        raise UsageError(
            expected=f"a file that can be written at {path}",
            found=str(error.strerror),
            remedy="name another",
        ) from error
