"""Calibration inputs from what people have: images, lines of text, or arrays; prepared for one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rewriter.calibration.files import read_calibration
from rewriter.errors import UsageError
from rewriter.finetune.data.pictures import ImageExamples
from rewriter.finetune.data.takes import Takes, what_it_takes
from rewriter.finetune.data.text import TextExamples, read_lines
from rewriter.sources.source import Source

_BATCH = 64
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def prepared_calibration(path: Path, source: Source) -> list[Any]:
    """Read calibration inputs in batches of 64.

    Args:
        path: a folder of images, at any depth; a text file, ``.txt`` or ``.txt.gz``, with one example a line, which
            goes through the source's own tokenizer; or a file of arrays: see `read_calibration`.
        source: the model, whose input size and normalisation the images get.

    Raises:
        UsageError: there is nothing of the kind at the path, or it cannot be read or does not suit the source.
    """
    takes = what_it_takes(source.model, source.spec, source.inputs)
    if path.is_dir():
        return _images(path, takes)
    if path.is_file() and {".txt", ".gz"} & set(path.suffixes):
        lines = read_lines(path, takes).lines
        examples = TextExamples(sorted(lines, key=len), takes)  # little is padded where a batch's lines are as long
        return [examples.batch(range(i, min(i + _BATCH, len(examples)))).inputs for i in _starts(len(examples))]
    return list(read_calibration(path))


def _images(folder: Path, takes: Takes) -> list[Any]:
    from PIL import Image

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if not files or takes.shape is None:
        raise UsageError(
            expected="a folder of image files and a model whose input shape is known",
            found="no image file" if not files else "an unknown shape",
            remedy="name another folder" if not files else "give --input-shape",
        )
    examples = ImageExamples(len(files), lambda index: (Image.open(files[index]), None), False, takes)
    return [examples.batch(range(i, min(i + _BATCH, len(files)))).inputs for i in _starts(len(files))]


def _starts(count: int) -> range:
    return range(0, count, _BATCH)
