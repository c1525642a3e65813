"""A function of every branch is applied once, before the branches are split."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from export.graph.branches import share_functions_of_branches

SPLIT = "a, b = Split<axis = -1, num_outputs = 2>(x)"
SIGNATURE = "(float[batch, 8] x) => (float[batch, 4] y)"
BOUNDS = {"low": -0.5, "high": 0.5, "higher": 0.75, "same": 0.5}


def rewritten(body: str, rewrite: Any, signature: str = SIGNATURE) -> Any:
    constants = {name: np.array(value, dtype=np.float32) for name, value in BOUNDS.items() if name in body}
    found = rewrite(f"{SPLIT} {body}", constants, signature)
    found.require_agreement()
    return found


@pytest.mark.parametrize(
    ("body", "operations"),
    [
        ("c = Exp(a) d = Exp(b) y = Sub(c, d)", ["Exp", "Split", "Sub"]),
        ("c = Clip(a, low, high) d = Clip(b, low, high) y = Sub(c, d)", ["Clip", "Split", "Sub"]),
        ("c = Clip(a, low, high) d = Clip(b, low, same) y = Sub(c, d)", ["Clip", "Split", "Sub"]),
    ],
)
def test_the_same_function_of_all_branches_is_applied_once(body: str, operations: list[str], rewrite: Any) -> None:
    assert rewritten(body, rewrite).operations == operations


@pytest.mark.parametrize(
    "body",
    [
        "c = Exp(a) d = Tanh(b) y = Sub(c, d)",
        "c = Clip(a, low, high) d = Clip(b, low, higher) y = Sub(c, d)",
        "c = Clip(a, low, high) d = Clip(b, low) y = Sub(c, d)",
        "c = Clip(a, low, high) y = Sub(c, b)",
        "c = Clip(a, low, high) d = Clip(b, low, high) e = Sub(c, d) y = Add(e, a)",
        "c = LeakyRelu<alpha = 0.1>(a) d = LeakyRelu<alpha = 0.2>(b) y = Sub(c, d)",
        "q = ReduceMax<keepdims = 0>(x) c = Clip(a, low, q) d = Clip(b, low, q) y = Sub(c, d)",
    ],
)
def test_what_differs_between_branches_stays_behind_the_split(body: str, rewrite: Any) -> None:
    assert rewritten(body, rewrite).operations[0] == "Split"


def test_a_function_whose_result_leaves_the_graph_stays(rewrite: Any) -> None:
    signature = "(float[batch, 8] x) => (float[batch, 4] c, float[batch, 4] y)"
    assert rewritten("c = Exp(a) d = Exp(b) y = Sub(c, d)", rewrite, signature).operations[0] == "Split"


def test_a_function_of_another_domain_stays() -> None:
    text = f'<ir_version: 10, opset_import: ["" : 23, "own" : 1]> g {SIGNATURE} {{ {SPLIT}'
    model = ir.from_proto(onnx.parser.parse_model(text + " c = own.Exp(a) d = own.Exp(b) y = Sub(c, d) }"))
    share_functions_of_branches(model.graph)
    assert [node.op_type for node in model.graph] == ["Split", "Exp", "Exp", "Sub"]
