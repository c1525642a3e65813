from __future__ import annotations

import pytest

from export.axes import axis_names, resized, shortened
from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec


def text(name: str, length: int) -> InputSpec:
    return InputSpec(name=name, shape=(length,), dtype="int64", high=5, sequence_axis=1)


PIXELS = InputSpec(name="pixel_values", shape=(3, 8, 8))


def test_sequences_of_one_length_share_an_axis_name() -> None:
    assert axis_names([text("ids", 9), text("mask", 9), PIXELS]) == [
        {0: "batch", 1: "sequence"},
        {0: "batch", 1: "sequence"},
        {0: "batch"},
    ]


def test_sequences_of_different_lengths_have_axes_of_their_own() -> None:
    assert axis_names([text("ids", 9), text("labels", 4)]) == [
        {0: "batch", 1: "ids_sequence"},
        {0: "batch", 1: "labels_sequence"},
    ]


def test_a_second_length_is_shorter_so_that_no_position_is_passed() -> None:
    shorter = shortened([text("ids", 9), PIXELS])
    assert shorter is not None
    assert [spec.shape for spec in shorter] == [(6,), (3, 8, 8)]


def test_fixed_shapes_and_single_tokens_have_no_second_length() -> None:
    assert shortened([PIXELS]) is None
    assert shortened([text("ids", 1)]) is None


def test_sizes_of_images_vary_on_request_and_have_names_of_their_own_where_they_differ() -> None:
    depth = InputSpec(name="depth", shape=(1, 4, 6))
    assert axis_names([text("ids", 9), PIXELS], dynamic_size=True) == [
        {0: "batch", 1: "sequence"},
        {0: "batch", 2: "height", 3: "width"},
    ]
    assert axis_names([depth, PIXELS], dynamic_size=True) == [
        {0: "batch", 2: "depth_height", 3: "depth_width"},
        {0: "batch", 2: "pixel_values_height", 3: "pixel_values_width"},
    ]
    assert [spec.shape for spec in resized([text("ids", 9), PIXELS])] == [(9,), (3, 40, 72)]


def test_sizes_cannot_vary_where_there_are_no_images() -> None:
    with pytest.raises(UsageError, match=r"an input of images.*ids\[9\].*--dynamic-size"):
        axis_names([text("ids", 9)], dynamic_size=True)
