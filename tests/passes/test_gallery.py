from __future__ import annotations

import re
from pathlib import Path

import pytest

from passes.functions import activation_names, decomposition_names
from passes.gallery import make_gallery

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"


def pictures(page: Path) -> list[str]:
    return re.findall(r"!\[.*?\]\((.*?)\)", page.read_text(encoding="utf-8"))


def test_the_page_shows_the_pictures_that_are_made(tmp_path: Path) -> None:
    page = make_gallery(tmp_path / "docs", ["relu", "gelu"], ["tanh/4"])
    assert pictures(page) == ["gallery/relu.png", "gallery/gelu.png", "gallery/tanh-4.png"]
    for picture in pictures(page):
        assert (page.parent / picture).read_bytes().startswith(b"\x89PNG")


def test_the_same_gallery_is_the_same_files(tmp_path: Path) -> None:
    made = [make_gallery(tmp_path / name, ["silu"], ["silu/2"]) for name in "ab"]
    first, second = (
        {path.relative_to(page.parent): path.read_bytes() for path in page.parent.rglob("*.*")} for page in made
    )
    assert len(first) == 3
    assert first == second


def test_the_committed_gallery_has_everything_there_is() -> None:
    page = DOCUMENTS / "gallery.md"
    headings = re.findall(r"^### (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [*activation_names(), *decomposition_names()]
    shown = pictures(page)
    assert len(shown) == len(headings)
    assert sorted(shown) == sorted(f"gallery/{path.name}" for path in (DOCUMENTS / "gallery").iterdir())


@pytest.mark.parametrize("name", ["sigmoid", "hardswish"])
def test_the_committed_words_are_those_of_today(tmp_path: Path, name: str) -> None:
    fresh = make_gallery(tmp_path, [name], []).read_text(encoding="utf-8")
    section = fresh[fresh.index(f"### {name}") : fresh.index("## Decompositions")]
    assert section in (DOCUMENTS / "gallery.md").read_text(encoding="utf-8")
