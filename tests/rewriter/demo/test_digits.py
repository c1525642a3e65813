"""The bundled data: what is in the two parts of the split."""

from collections import Counter

import pytest
import torch
from sklearn.datasets import load_digits

from rewriter.demo.digits import load_split


@pytest.fixture(scope="module")
def split():
    return load_split()


def test_the_two_parts_are_the_whole_data_set_and_share_no_image(split):
    images = torch.cat([split.train.images, split.test.images])
    labels = torch.cat([split.train.labels, split.test.labels])
    darkest, brightest = images.min(), images.max()
    pixels = ((images - darkest) / (brightest - darkest) * 16).round().flatten(1)
    source, source_labels = load_digits(return_X_y=True)

    def multiset(rows, classes):
        return Counter((tuple(row), label) for row, label in zip(rows.tolist(), classes.tolist(), strict=True))

    assert multiset(pixels, labels) == multiset(source, source_labels)


def test_every_class_has_the_same_share_in_both_parts(split):
    test, train = split.test.labels.bincount(), split.train.labels.bincount()
    share = len(split.test.labels) / (len(split.test.labels) + len(split.train.labels))
    assert ((test - share * (test + train)).abs() <= 1).all()


def test_only_the_training_images_set_the_normalisation(split):
    assert split.train.images.mean().item() == pytest.approx(0, abs=1e-5)
    assert split.train.images.std().item() == pytest.approx(1, abs=1e-5)
    assert abs(split.test.images.mean().item()) > 1e-4


def test_images_are_float32_of_the_models_shape(split):
    for part in split:
        assert part.images.dtype == torch.float32
        assert part.images.shape[1:] == (1, 8, 8)
        assert part.labels.dtype == torch.int64


def test_the_split_is_the_same_every_time(split):
    again = load_split()
    for first, second in zip(split, again, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
