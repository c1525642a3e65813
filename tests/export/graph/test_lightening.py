from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

K, C = math.sqrt(2 / math.pi), 0.044715
TANH = "q = Pow(x{0}, three) r = Mul(q, c3) s = Add(x{1}, r) t = Mul(s, k) u = Tanh(t)"

BLOCKS: dict[str, tuple[int, str, dict[str, float], list[str]]] = {
    "gelu/2": (
        2,
        "a = Mul(x2, root) e = Erf(a) f = Add(e, one) g = Mul(x1, f) y = Mul(g, half)",
        {"root": 0.5**0.5, "one": 1, "half": 0.5},
        ["Split", "Erf", "Add", "Mul"],
    ),
    "gelu/3": (
        3,
        f"{TANH.format(3, 2)} f = Add(u, one) g = Mul(x1, f) y = Mul(g, half)",
        {"three": 3, "c3": C, "k": K, "one": 1, "half": 0.5},
        ["Split", "Pow", "Add", "Sigmoid", "Mul"],
    ),
    "gelu/4": (
        4,
        f"{TANH.format(4, 3)} f = Mul(x2, u) g = Mul(f, half) h = Mul(x1, half) y = Add(g, h)",
        {"three": 3, "c3": C, "k": K, "half": 0.5},
        ["Split", "Pow", "Add", "Tanh", "Mul"],
    ),
    "tanh/2": (
        2,
        "a = Mul(x1, two) d = Sigmoid(a) e = Mul(x2, minus) f = Sigmoid(e) y = Sub(d, f)",
        {"two": 2, "minus": -2},
        ["Sigmoid", "Split", "Sub"],
    ),
    "tanh/4": (
        4,
        "c1 = Clip(x1, low, high) c2 = Clip(x2, low, high) c3 = Clip(x3, low, high) c4 = Clip(x4, low, high)"
        " a = Exp(c1) d = Neg(c2) e = Exp(d) f = Exp(c3) g = Neg(c4) h = Exp(g) i = Sub(a, e) j = Add(f, h)"
        " y = Div(i, j)",
        {"low": -4, "high": 4},
        ["Clip", "Exp", "Split", "Sub", "Add", "Div"],
    ),
}


@pytest.mark.parametrize("name", list(BLOCKS))
def test_a_block_keeps_its_function_and_the_operations_that_numbers_in_weights_cannot_do(
    name: str, rewrite_block: Any
) -> None:
    branches, combine, constants, left = BLOCKS[name]
    block = rewrite_block(branches, combine, hidden=8, **constants)
    assert Counter(block.operations) == Counter(["MatMul", "Add", *left, "MatMul", "Add"])
    block.require_agreement()


def test_weights_that_two_layers_share_are_only_scaled_in_one(rewrite: Any) -> None:
    constants = {
        "W": np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32),
        "two": np.array(2, dtype=np.float32),
    }
    body = "m = MatMul(x, W) a, d = Split<axis = -1, num_outputs = 2>(m) e = Mul(a, two) y = Mul(e, d) z = MatMul(x, W)"
    found = rewrite(body, constants, "(float[batch, 4] x) => (float[batch, 2] y, float[batch, 4] z)")
    assert found.operations.count("Mul") == 1
    found.require_agreement()


def test_no_constant_is_there_twice(rewrite: Any) -> None:
    same = {name: np.full((64, 64), 0.5, dtype=np.float32) for name in ("W", "V")}
    found = rewrite("m = MatMul(x, W) y = MatMul(m, V)", same, "(float[batch, 64] x) => (float[batch, 64] y)")
    assert len(found.constants) == 1
    found.require_agreement()
