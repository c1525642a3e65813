"""Layers around packed branches are computed on a matrix of rows, where every value between them goes row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

SIGNATURE = "(float[batch, 5, 8] x) => (float[batch, 5, 8] z)"
GATE = "t = Tanh(x2) y = Mul(x1, t)"
FLAT = ["Reshape", "Gemm", "Split", "Tanh", "Mul", "Gemm", "Reshape", "Add"]
AS_IT_WAS = ["MatMul", "Add", "Split", "Tanh", "Mul", "MatMul", "Add", "Add"]

Block = Callable[..., Any]


@pytest.fixture
def block(rewrite: Any) -> Block:
    """Two branches of width 6, a combine, a second layer, and a sum with the input."""

    def call(combine: str, signature: str = SIGNATURE, behind: str = "w = Add(v, c)", **constants: Any) -> Any:
        random = np.random.default_rng(0)
        shapes = {"W": (8, 12), "b": (12,), "V": (6, 8), "c": (8,)}
        arrays = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        arrays |= {name: np.asarray(value, dtype=np.float32) for name, value in constants.items()}
        arrays["sizes"] = np.array([6, 2], dtype=np.int64)
        body = "m = MatMul(x, W) p = Add(m, b) x1, x2 = Split<axis = -1, num_outputs = 2>(p)"
        return rewrite(f"{body} {combine} v = MatMul(y, V) {behind} z = Add(x, w)", arrays, signature)

    return call


def test_biases_are_added_within_the_products(block: Block) -> None:
    found = block(GATE)
    assert Counter(found.operations) == Counter(FLAT)
    found.require_agreement()


def test_a_composed_branch_is_added_within_the_second_product(rewrite: Any) -> None:
    random = np.random.default_rng(0)
    shapes = {"W": (8, 24), "b": (24,), "V": (12, 8), "c": (8,)}
    arrays = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    body = "m = MatMul(x, W) p = Add(m, b) x1, x2 = Split<axis = -1, num_outputs = 2>(p)"
    combine = "t = Tanh(x2) y = Add(x1, t) v = MatMul(y, V) w = Add(v, c) z = Add(x, w)"
    found = rewrite(f"{body} {combine}", arrays, SIGNATURE)
    assert Counter(found.operations) == Counter(["Reshape", "Gemm", "Split", "Tanh", "Gemm", "Reshape", "Add"])
    found.require_agreement()


def test_images_and_fixed_sizes_have_rows_too(block: Block) -> None:
    for shape in ("batch, 3, 4, 8", "2, 5, 8", "4, length, 8"):
        found = block(GATE, f"(float[{shape}] x) => (float[{shape}] z)")
        assert Counter(found.operations) == Counter(FLAT), shape
        found.require_agreement()


@pytest.mark.parametrize("shape", ["batch, length, 8", "batch, 8"])
def test_two_sizes_that_vary_and_matrices_stay(shape: str, block: Block) -> None:
    found = block(GATE, f"(float[{shape}] x) => (float[{shape}] z)")
    assert Counter(found.operations) == Counter(AS_IT_WAS)
    found.require_agreement()


@pytest.mark.parametrize(
    ("combine", "operation"),
    [
        ("t = Softmax<axis = 1>(x2) y = Mul(x1, t)", "Softmax"),  # across rows
        ("t = Tanh(x2) u = Mul(x1, t) y = Mul(u, places)", "Mul"),  # another number for each row
        ("t = ReduceMean<keepdims = 1>(x2) y = Mul(x1, t)", "ReduceMean"),  # across everything
    ],
)
def test_a_combine_that_is_not_by_row_stays(combine: str, operation: str, block: Block) -> None:
    found = block(combine, places=np.arange(30).reshape(5, 6) / 10)
    assert operation in found.operations
    assert "Gemm" not in found.operations
    found.require_agreement()


@pytest.mark.parametrize("behind", ["w = Add(v, x)", "w = Add(v, many)"])
def test_a_second_layer_whose_sum_is_no_bias_stays(behind: str, block: Block) -> None:
    found = block(GATE, behind=behind, many=np.arange(40).reshape(5, 8) / 10)
    assert "Gemm" not in found.operations
    found.require_agreement()


def test_a_gate_from_elsewhere_stays(block: Block) -> None:
    found = block("t = Tanh(x2) u = Mul(x1, t) g, h = Split<axis = -1>(x, sizes) y = Mul(u, g)")
    assert "Gemm" not in found.operations
    found.require_agreement()


def test_a_value_that_is_also_an_output_stays(block: Block) -> None:
    found = block(GATE, "(float[batch, 5, 8] x) => (float[batch, 5, 8] z, float[batch, 5, 6] t)")
    assert "Gemm" not in found.operations
    found.require_agreement()


def test_numbers_and_vectors_of_channels_may_be_between(block: Block) -> None:
    found = block(
        "t = Clip(x2, low, high) s = Div(t, channels) y = Mul(x1, s)", low=-1.0, high=1.5, channels=np.arange(1, 7)
    )
    assert Counter(found.operations) == Counter(
        ["Reshape", "Gemm", "Split", "Clip", "Div", "Mul", "Gemm", "Reshape", "Add"]
    )
    found.require_agreement()
