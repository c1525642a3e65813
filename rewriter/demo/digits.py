"""scikit-learn's handwritten digits as tensors, with one fixed stratified split."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

SPLIT_SEED = 0
TEST_FRACTION = 0.25
_BRIGHTEST = 16.0


class Digits(NamedTuple):
    """Labelled images.

    Attributes:
        images: float32 ``[N, 1, 8, 8]``, scaled to [0, 1], then to the training images' zero mean and unit
            variance.
        labels: int64 ``[N]``, the digit 0 to 9.
    """

    images: Tensor
    labels: Tensor


class DigitsSplit(NamedTuple):
    """The 1,347 training and the 450 test images; the test images serve nothing but the final accuracy."""

    train: Digits
    test: Digits


def load_split() -> DigitsSplit:
    """Return the digits, split so that every class has the same share in both parts.

    The mean and the deviation of the normalisation are those of the training part. Nothing is downloaded: the images
    come with scikit-learn (UCI ML "Optical Recognition of Handwritten Digits").
    """
    pixels, labels = load_digits(return_X_y=True)
    train_pixels, test_pixels, train_labels, test_labels = train_test_split(
        pixels, labels, test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=labels
    )
    train_images, test_images = (
        torch.from_numpy(part).to(torch.float32).reshape(-1, 1, 8, 8) / _BRIGHTEST
        for part in (train_pixels, test_pixels)
    )
    mean, deviation = train_images.mean(), train_images.std()
    return DigitsSplit(
        train=Digits((train_images - mean) / deviation, torch.from_numpy(train_labels).long()),
        test=Digits((test_images - mean) / deviation, torch.from_numpy(test_labels).long()),
    )


def write_arrays(directory: Path) -> None:
    """Write ``train.npz`` and ``test.npz``, each with the images ``x`` and the labels ``y``, into a new folder."""
    directory.mkdir(parents=True)
    for name, part in load_split()._asdict().items():
        np.savez(directory / f"{name}.npz", x=part.images.numpy(), y=part.labels.numpy())


if __name__ == "__main__":
    write_arrays(Path(sys.argv[1]))
