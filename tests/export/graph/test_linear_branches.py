from __future__ import annotations

from collections import Counter
from typing import Any

import pytest


def products(block: Any) -> int:
    """Count the numbers in the matrices of a block, which are its products per row."""
    return sum(array.size for array in block.constants.values() if array.ndim == 2)


def test_a_branch_that_is_only_added_becomes_as_wide_as_the_output(rewrite_block: Any) -> None:
    block = rewrite_block(2, "t = Tanh(x2) y = Add(x1, t)", hidden=12, width=8)
    assert Counter(block.operations) == Counter(["MatMul", "Add", "Split", "Tanh", "MatMul", "Add"])
    assert products(block) == 8 * (12 + 8) + 12 * 8
    block.require_agreement()


def test_several_such_branches_become_one_and_signs_are_kept(rewrite_block: Any) -> None:
    block = rewrite_block(4, "t = Tanh(x2) s = Sub(t, x1) r = Add(x3, s) w = Sin(x4) y = Sub(r, w)", hidden=6, width=8)
    assert products(block) == 8 * (12 + 8) + 6 * 8
    block.require_agreement()


@pytest.mark.parametrize(
    "combine",
    [
        "t = Tanh(x2) s = Mul(x1, t) y = Add(x1, s)",  # the branch is read twice
        "y = Add(x1, x2)",  # nothing would be left
        "t = Tanh(x2) y = Sub(x1, t)",  # what is left would have to change its sign
    ],
)
def test_other_sums_stay(combine: str, rewrite_block: Any) -> None:
    block = rewrite_block(2, combine, hidden=12, width=8)
    assert products(block) == 8 * 24 + 12 * 8
    block.require_agreement()


def test_an_output_wider_than_the_branch_stays(rewrite_block: Any) -> None:
    block = rewrite_block(2, "t = Tanh(x2) y = Add(x1, t)", hidden=5, width=8)
    assert products(block) == 8 * 10 + 5 * 8
    block.require_agreement()


def test_a_number_among_the_terms_does_not_make_the_sum_a_number(rewrite_block: Any) -> None:
    combine = "t = Tanh(x2) s = Sub(half, x1) r = Add(s, t) q = Sin(x3) u = Add(half, r) y = Add(u, q)"
    block = rewrite_block(3, combine, hidden=12, width=8, half=0.5)
    block.require_agreement()
