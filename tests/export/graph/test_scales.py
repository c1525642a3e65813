from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.graph.scales import move_scales_into_weights

X = "(float[batch, 4] x) => (float[batch, 3] y)"
IMAGE = "(float[batch, 2, 5, 5] x) => (float[batch, 3, 5, 5] y)"


def normal(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def scales_only(model: Any) -> None:
    move_scales_into_weights(model.graph)


@pytest.mark.parametrize(
    ("layer", "axis", "signature", "weight", "bias"),
    [
        ("p = MatMul(x, W)", -1, X, normal(4, 6), None),
        ("p = Gemm(x, W, b)", 1, X, normal(4, 6), normal(6)),
        ("p = Gemm<transB = 1>(x, W, b)", 1, X, normal(6, 4), normal(6)),
        ("p = Conv(x, W, b)", 1, IMAGE, normal(6, 2, 1, 1), normal(6)),
        ("p = Conv(x, W)", 1, IMAGE, normal(6, 2, 1, 1), None),
    ],
)
def test_the_factor_of_a_branch_goes_into_its_part_of_every_kind_of_layer(
    layer: str, axis: int, signature: str, weight: Any, bias: Any, rewrite: Any
) -> None:
    constants = {"W": weight, "k": np.array(-0.3, dtype=np.float32)} | ({} if bias is None else {"b": bias})
    body = f"{layer} u, v = Split<axis = {axis}, num_outputs = 2>(p) s = Mul(v, k) t = Tanh(s) y = Mul(u, t)"
    found = rewrite(body, constants, signature, scales_only)
    assert found.operations.count("Mul") == 1
    found.require_agreement()


@pytest.mark.parametrize(
    "combine",
    [
        "s = Mul(u, k) t = Tanh(s) y = Add(u, t)",  # the branch is read twice
        "s = Mul(u, k) t = Abs(s) y = Add(t, v)",  # would be possible: see the next test
    ],
)
def test_the_function_stays_whoever_reads_the_branch(combine: str, rewrite: Any) -> None:
    constants = {"W": normal(4, 6), "k": np.array(3, dtype=np.float32)}
    body = f"p = MatMul(x, W) u, v = Split<axis = -1, num_outputs = 2>(p) {combine}"
    found = rewrite(body, constants, X, scales_only)
    assert found.operations.count("Mul") == (1 if combine.startswith("s = Mul(u, k) t = Tanh") else 0)
    found.require_agreement()


def test_a_bound_on_the_branches_is_only_passed_by_a_change_of_sign(rewrite: Any) -> None:
    constants = {"W": normal(4, 6), "k": np.array(3, dtype=np.float32)}
    constants |= {"low": np.array(-1, dtype=np.float32), "high": np.array(1, dtype=np.float32)}
    body = (
        "m = MatMul(x, W) p = Clip(m, low, high) u, v = Split<axis = -1, num_outputs = 2>(p)"
        " s = Mul(u, k) n = Neg(v) y = Add(s, n)"
    )
    found = rewrite(body, constants, X, scales_only)
    assert "Neg" not in found.operations
    assert "Mul" in found.operations
    found.require_agreement()


def test_a_bound_that_is_not_symmetric_keeps_the_sign_outside(rewrite: Any) -> None:
    constants = {"W": normal(4, 6), "low": np.array(-1, dtype=np.float32), "high": np.array(2, dtype=np.float32)}
    body = (
        "m = MatMul(x, W) p = Clip(m, low, high) u, v = Split<axis = -1, num_outputs = 2>(p) n = Neg(v) y = Add(u, n)"
    )
    found = rewrite(body, constants, X, scales_only)
    assert "Neg" in found.operations
    found.require_agreement()


def test_an_output_of_the_graph_keeps_its_name_and_value(rewrite: Any) -> None:
    constants = {"W": normal(4, 6), "k": np.array(3, dtype=np.float32)}
    body = "p = MatMul(x, W) y, v = Split<axis = -1, num_outputs = 2>(p) z = Mul(v, k)"
    signature = "(float[batch, 4] x) => (float[batch, 3] y, float[batch, 3] z)"
    found = rewrite(body, constants, signature, scales_only)
    assert [one.name for one in found.after.graph.output] == ["y", "z"]
    found.require_agreement()


def test_quotients_of_integers_are_rounded_where_they_were(rewrite: Any) -> None:
    constants = {"three": np.array(3), "two": np.array(2)}
    body = "i = Cast<to = 7>(x) t = Mul(i, three) h = Div(t, two) y = Cast<to = 1>(h)"
    found = rewrite(body, constants, "(float[batch, 4] x) => (float[batch, 4] y)", scales_only)
    assert {"Mul", "Div"} <= set(found.operations)
    found.require_agreement()


def test_factors_do_not_meet_in_one_that_half_precision_cannot_hold(rewrite: Any) -> None:
    constants = {"large": np.array(5e3, dtype=np.float32)}
    body = "a = Relu(x) b = Mul(a, large) d = Mul(b, large) z = Tanh(d)"
    found = rewrite(body, constants, "(float[batch, 4] x) => (float[batch, 4] z)", scales_only)
    assert found.operations.count("Mul") == 2
    found.require_agreement()
