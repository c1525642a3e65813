from __future__ import annotations

from pathlib import Path

import pytest

from passes.pictures.figures import function_figure
from passes.pictures.picture_file import save_picture
from rewriter.errors import UsageError


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_suffix_decides_the_format(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"picture.{suffix}"
    save_picture(function_figure("relu"), path)
    assert path.read_bytes().startswith(start)


def test_the_same_picture_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_picture(function_figure("gelu"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("place", "words"),
    [("picture.bmp", ".png, .svg, .pdf"), ("picture", ".png"), ("absent/picture.png", "absent"), ("made.png", "made")],
)
def test_a_place_without_room_for_a_picture_is_refused(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "made.png").mkdir()
    with pytest.raises(UsageError, match=words):
        save_picture(function_figure("relu"), tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["made.png"]
