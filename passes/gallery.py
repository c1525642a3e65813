"""The gallery: a page with every function and every decomposition in words and in a picture.

``python -m passes.gallery docs`` writes ``docs/gallery.md`` and the pictures in ``docs/gallery/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure
from PIL import Image

from passes.functions import activation_names, decomposition, decomposition_names
from passes.pictures.figures import function_figure, split_figure
from passes.pictures.function_facts import function_facts
from passes.pictures.picture_file import save_picture
from passes.pictures.split_facts import split_facts

_DOTS_PER_INCH, _COLOURS = 80.0, 64
_INTRODUCTION = """\
# Every function and every decomposition

For each activation f its global adversarial function g, with `g′ = 1/(f′ + α)` and `g(0) = 0`; for each decomposition
F, with `F(x, …, x) = f(x)`, the terms Gᵢ of its split adversarial function. Here α = 1.

The same for another α, or for an expression of yours:

```bash
rewrite-model list show gelu --alpha 0.5 --plot gelu.png
rewrite-model list show "x1*sigmoid(x2)" --activation silu --plot mine.svg
```

`python -m passes.gallery docs` writes this page and its pictures.
"""


def make_gallery(folder: Path, functions: Sequence[str], decompositions: Sequence[str]) -> Path:
    """Write ``gallery.md`` and its pictures, ``gallery/*.png``, into ``folder``, which is made where it is missing.

    Returns:
        The page.

    Raises:
        UsageError: an unknown name.
    """
    pictures = folder / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [_INTRODUCTION, "## Functions\n"]
    for name in functions:
        parts.append(_section(name, function_facts(name).in_words(), _picture(name)))
        _save(function_figure(name), folder / _picture(name))
    parts.append("## Decompositions\n")
    for name in decompositions:
        found = decomposition(name)
        parts.append(_section(name, split_facts(found).in_words(), _picture(name)))
        _save(split_figure(found), folder / _picture(name))
    page = folder / "gallery.md"
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def _picture(name: str) -> str:
    return f"gallery/{name.replace('/', '-')}.png"


def _section(name: str, lines: Sequence[tuple[str, str]], picture: str) -> str:
    width = max(len(label) for label, _ in lines)
    body = "\n".join(f"{label:<{width}}  {text}" for label, text in lines[1:])
    return f"### {name}\n\n![{name}]({picture})\n\n```text\n{body}\n```\n"


def _save(figure: Figure, path: Path) -> None:
    """Write a picture in few colours, which take a third of the space."""
    save_picture(figure, path, _DOTS_PER_INCH)
    with Image.open(path) as drawn:
        few = drawn.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def main(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the page goes")]) -> None:
    """Write the gallery of everything there is."""
    print(make_gallery(folder, activation_names(), decomposition_names()))


if __name__ == "__main__":
    typer.run(main)
