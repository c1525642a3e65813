from __future__ import annotations

from export.axes import axis_names, shortened
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
