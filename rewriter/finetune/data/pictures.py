"""Examples in image files and image data sets, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rewriter.errors import UsageError
from rewriter.finetune.data.pixels import normalised, to_unit
from rewriter.finetune.data.takes import Takes
from rewriter.finetune.examples import Batch, Change
from rewriter.tracing.trace import reason


class ImageExamples:
    """Pictures from anywhere.

    Args:
        count: how many there are.
        picture: gives one by its index: a PIL image or a uint8 array, and its class or None.
        labelled: whether the classes are given.
        takes: what the model takes.
    """

    def __init__(
        self, count: int, picture: Callable[[int], tuple[Any, int | None]], labelled: bool, takes: Takes
    ) -> None:
        self._count, self._picture, self._labelled, self._takes = count, picture, labelled, takes

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""
        return self._labelled

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    def batch(self, indices: Sequence[int], change: Change | None = None) -> Batch:
        """Give some of them; see `rewriter.finetune.examples.Examples`."""
        try:
            pictures, classes = zip(*(self._picture(index) for index in indices), strict=True)
        except OSError as error:  # what damaged image files raise
            raise UsageError(
                expected="complete image files", found=reason(error), remedy="write the file again, or remove it"
            ) from error
        unit = torch.cat([to_unit(self._pixels(picture)[None], self._takes) for picture in pictures])
        if change is not None:
            unit = change(unit)
        labels = torch.tensor(classes, dtype=torch.int64) if self._labelled else None
        return Batch(self._takes.inputs(normalised(unit, self._takes)), labels)

    def _pixels(self, picture: Any) -> Tensor:
        grey = self._takes.shape is not None and len(self._takes.shape) == 3 and self._takes.shape[0] == 1
        pixels = np.asarray(picture.convert("L" if grey else "RGB") if hasattr(picture, "convert") else picture)
        return torch.from_numpy(np.array(pixels, dtype=np.uint8))


def read_image_folder(path: Path, takes: Takes) -> ImageExamples:
    """Read a folder with one sub-folder of image files for each class; the classes are numbered by name.

    Raises:
        UsageError: there are no image files in sub-folders.
    """
    from torchvision.datasets import ImageFolder

    try:
        folder = ImageFolder(str(path))
    except Exception as error:  # FileNotFoundError for an empty class, among others
        raise UsageError(
            expected=f"a folder {path} with one sub-folder of image files for each class",
            found=reason(error),
            remedy="arrange the images so",
        ) from error
    return ImageExamples(len(folder), lambda index: folder[index], True, takes)


def read_torchvision(name: str, options: dict[str, Any], takes: Takes) -> ImageExamples:
    """Open one of torchvision's data sets, which must be on this machine.

    Args:
        name: of its class, such as ``CIFAR10``.
        options: of its constructor; ``root`` is the folder that holds it.
        takes: what the model takes.

    Raises:
        UsageError: there is no such data set, or it is not there.
    """
    from torchvision import datasets

    from rewriter.names import require_known

    found = getattr(datasets, require_known(name, datasets.__all__, "torchvision data set"))
    try:
        opened = found(**{"root": "data", **options})
        first = opened[0]
        labelled = isinstance(first, tuple) and len(first) == 2 and isinstance(first[1], int)
    except Exception as error:  # each data set raises its own
        raise UsageError(
            expected=f"torchvision's {name} on this machine",
            found=reason(error),
            remedy=f"name its folder and part, such as torchvision:{name}?root=data&train=true",
        ) from error

    def picture(index: int) -> tuple[Any, int | None]:
        item = opened[index]
        return (item[0], item[1] if labelled else None) if isinstance(item, tuple) else (item, None)

    return ImageExamples(len(opened), picture, labelled, takes)
