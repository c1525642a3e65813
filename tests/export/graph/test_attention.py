from __future__ import annotations

from typing import Any

import numpy as np
import pytest

PACKED = "(float[batch, 5, 24] x) => (float[batch, 5, 8] y)"
SIZES = {
    "parts": np.array([-1, 5, 3, 2, 4], dtype=np.int64),
    "heads": np.array([-1, 5, 2, 4], dtype=np.int64),
    "fewer": np.array([-1, 5, 1, 4], dtype=np.int64),
    "width": np.array([-1, 5, 8], dtype=np.int64),
    **{f"n{number}": np.array([number], dtype=np.int64) for number in range(4)},
}
CUT = "v = Reshape(x, parts) t = Transpose<perm = [2, 0, 3, 1, 4]>(v) " + " ".join(
    f"s{part} = Slice(t, n{part}, n{part + 1}, n0) {name} = Squeeze(s{part}, n0)" for part, name in enumerate("qkw")
)
BACK = "b = Transpose<perm = [0, 2, 1, 3]>(a) y0 = Reshape(b, width) y = Abs(y0)"
SEPARATE = "(float[batch, 5, 8] x, float[batch, 5, {keys}] z, float[5, 5] m) => (float[batch, 5, 8] y)"


def moved(name: str, source: str, sizes: str, order: str = "0, 2, 1, 3") -> str:
    return f"v{name} = Reshape({source}, {sizes}) {name} = Transpose<perm = [{order}]>(v{name})"


def test_parts_of_one_product_are_divided_once_and_nothing_is_moved(rewrite: Any) -> None:
    found = rewrite(f"{CUT} a = Attention<is_causal = 1>(q, k, w) {BACK}", SIZES, PACKED)
    assert found.operations == ["Split", "Attention", "Abs"]
    found.require_agreement()


def test_each_part_stays_what_it_was(rewrite: Any) -> None:
    found = rewrite(f"{CUT} a = Attention(k, w, q) {BACK}", SIZES, PACKED)
    attention = found.after.graph.node[1]
    split = found.after.graph.node[0]
    assert list(attention.input) == [split.output[1], split.output[2], split.output[0]]
    found.require_agreement()


@pytest.mark.parametrize("keys", ["heads", "fewer"])
def test_values_of_their_own_and_a_mask_are_taken_as_they_are(keys: str, rewrite: Any) -> None:
    body = " ".join([moved("q", "x", "heads"), moved("k", "z", keys), moved("w", "z", keys)])
    signature = SEPARATE.format(keys=8 if keys == "heads" else 4)
    found = rewrite(f"{body} a = Attention(q, k, w, m) {BACK}", SIZES, signature)
    assert found.operations == ["Attention", "Abs"]
    found.require_agreement()


@pytest.mark.parametrize(
    ("before", "call", "after"),
    [
        (CUT + " h = Abs(q)", "Attention(h, k, w)", BACK),  # queries that are normalized, say
        (CUT, "Attention(q, k, w)", BACK + " other = Abs(a)"),
        (CUT, "Attention(q, k, w)", "y1 = Reshape(a, width) y = Abs(y1)"),
        (CUT, "Attention(q, k, w)", "b = Transpose<perm = [0, 2, 1, 3]>(a) y = Reshape(b, width)"),
        (CUT, "Attention(q, k, w)", BACK.replace("0, 2, 1, 3", "0, 2, 3, 1")),
        (CUT.replace("2, 0, 3, 1, 4", "2, 0, 1, 3, 4"), "Attention(q, k, w)", "y1 = Reshape(a, width) y = Abs(y1)"),
    ],
)
def test_heads_that_are_not_just_moved_there_and_back_stay(before: str, call: str, after: str, rewrite: Any) -> None:
    signature = PACKED.replace("y)", "y, float[batch, 2, 5, 4] other)") if "other" in after else PACKED
    found = rewrite(f"{before} a = {call} {after}", SIZES, signature)
    assert "Split" not in found.operations
    found.require_agreement()


@pytest.mark.parametrize("sizes", [[-1, 1, 2, 4], [3, 10, 1, 4]])
def test_positions_that_become_something_else_stay(sizes: list[int], rewrite: Any) -> None:
    constants = {**SIZES, "heads": np.array(sizes, dtype=np.int64)}
    body = " ".join(moved(name, "x", "heads") for name in "qkw")
    found = rewrite(f"{body} a = Attention(q, k, w) {BACK}", constants, "(float[3, 5, 8] x) => (float[3, 5, 8] y)")
    assert found.operations.count("Transpose") == 2
    found.require_agreement()


def test_keys_that_are_kept_for_later_are_as_before(rewrite: Any) -> None:
    signature = PACKED.replace("y)", "y, float[batch, 2, 5, 4] later)")
    found = rewrite(f"{CUT} a, later = Attention(q, k, w) {BACK}", SIZES, signature)
    assert found.operations == ["Split", "Attention", "Abs"]
    found.require_agreement()


def test_positions_in_the_place_of_heads_stay_there(rewrite: Any) -> None:
    constants = {"heads": np.array([3, 2, 2, 4], dtype=np.int64), "width": np.array([3, 2, 8], dtype=np.int64)}
    body = " ".join(moved(name, "x", "heads", order="0, 1, 2, 3") for name in "qkw")
    found = rewrite(f"{body} a = Attention(q, k, w) {BACK}", constants, "(float[3, 2, 8] x) => (float[3, 2, 8] y)")
    assert found.operations.count("Transpose") == 2
    found.require_agreement()


def test_a_part_may_be_counted_from_the_end(rewrite: Any) -> None:
    constants = {**SIZES, "n1": np.array([-2], dtype=np.int64), "n2": np.array([-1], dtype=np.int64)}
    found = rewrite(f"{CUT} a = Attention(q, k, w) {BACK}", constants, PACKED)
    assert found.operations == ["Split", "Attention", "Abs"]
    found.require_agreement()


def test_some_of_the_positions_are_no_part_of_the_product(rewrite: Any) -> None:
    constants = {
        **SIZES,
        "parts": np.array([-1, 5, 1, 2, 4], dtype=np.int64),
        "four": np.array([4], dtype=np.int64),
        "width": np.array([-1, 4, 8], dtype=np.int64),
    }
    cut = "v = Reshape(x, parts) t = Transpose<perm = [2, 0, 3, 1, 4]>(v) s = Slice(t, n0, four, n3) q = Squeeze(s, n0)"
    signature = "(float[batch, 5, 8] x) => (float[batch, 4, 8] y)"
    found = rewrite(f"{cut} a = Attention(q, q, q) {BACK}", constants, signature)
    assert "Slice" in found.operations
    found.require_agreement()
