from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewriter.errors import UsageError
from rewriter.finetune.augmentation import augmented
from rewriter.finetune.data.arrays import ArrayExamples
from rewriter.finetune.data.takes import Takes
from rewriter.finetune.examples import endless_order, hold_out

TAKES = Takes("py:a:b", None, (1,), (0.0,), (1.0,))


def numbered(count: int) -> ArrayExamples:
    return ArrayExamples({"x": torch.arange(count, dtype=torch.float32)[:, None]}, torch.arange(count), TAKES)


@given(st.integers(10, 300), st.integers(0, 5))
def test_what_is_held_out_is_not_trained_on(count: int, seed: int) -> None:
    train, test = hold_out(numbered(count), seed)
    parts = [part.batch(range(len(part))).labels for part in (train, test)]
    assert sorted(torch.cat([labels for labels in parts if labels is not None]).tolist()) == list(range(count))
    assert len(test) == count // 10


def test_too_few_examples_to_hold_some_out_are_refused() -> None:
    with pytest.raises(UsageError, match="--test"):
        hold_out(numbered(9), 0)


@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 3))
def test_every_example_comes_once_in_each_pass_whatever_the_batch_size(count: int, size: int, seed: int) -> None:
    batches = list(islice(endless_order(count, size, seed, 0), 3 * count))
    seen = [index for batch in batches for index in batch]
    for start in range(0, 3 * count, count):
        assert Counter(seen[start : start + count]) == Counter(range(count))


@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 20))
def test_the_order_goes_on_from_any_batch(count: int, size: int, first: int) -> None:
    whole = list(islice(endless_order(count, size, 7, 0), first + 3))
    assert list(islice(endless_order(count, size, 7, first), 3)) == whole[first:]


def test_passes_and_seeds_differ() -> None:
    one, two = islice(endless_order(50, 50, 0, 0), 2)
    (other,) = islice(endless_order(50, 50, 1, 0), 1)
    assert one != two
    assert one != other


@given(st.integers(0, 1000))
def test_an_augmented_image_is_a_window_of_the_padded_one_or_its_mirror(seed: int) -> None:
    image = torch.arange(1.0, 129).reshape(1, 2, 8, 8)
    for what in (["crop"], ["flip"], ["crop", "flip"]):
        result = augmented(image, what, torch.Generator().manual_seed(seed))
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1)) if "crop" in what else image
        windows = [
            padded[..., r : r + 8, c : c + 8] for r in range(padded.shape[2] - 7) for c in range(padded.shape[3] - 7)
        ]
        allowed = windows + [window.flip(-1) for window in windows] * ("flip" in what)
        assert any(torch.equal(result, window) for window in allowed)


def test_an_image_is_augmented_alike_whichever_process_has_it() -> None:
    images = torch.rand(12, 1, 8, 8)
    whole = augmented(images, ["crop", "flip"], torch.Generator().manual_seed(0))
    for process in range(3):
        generator = torch.Generator().manual_seed(0)
        own = augmented(images[process::3], ["crop", "flip"], generator, process=process, processes=3)
        assert torch.equal(own, whole[process::3])


def test_images_of_a_batch_are_augmented_each_in_its_own_way() -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(512, 1, 8, 8)
    result = augmented(images, ["crop", "flip"], torch.Generator().manual_seed(0))
    assert len({tuple(image.flatten().tolist()) for image in result}) == 18  # 3 rows, 3 columns, 2 ways round
