from __future__ import annotations

from typing import Any

import numpy as np
import pytest

ZERO, ONE = np.zeros(4, dtype=np.float32), np.ones(4, dtype=np.float32)


@pytest.mark.parametrize("operation", ["Add(a, zero)", "Add(zero, a)", "Sub(a, zero)", "Mul(one, a)", "Div(a, one)"])
def test_what_changes_nothing_goes(operation: str, rewrite: Any) -> None:
    body = f"a = Tanh(x) b = {operation} y = Exp(b)"
    found = rewrite(body, {"zero": ZERO, "one": ONE}, "(float[batch, 4] x) => (float[batch, 4] y)")
    assert found.operations == ["Tanh", "Exp"]
    found.require_agreement()


@pytest.mark.parametrize(
    ("operation", "shape"),
    [("Sub(zero, a)", "batch, 4"), ("Div(one, a)", "batch, 4"), ("Add(a, one)", "batch, 4"), ("Add(a, wide)", "2, 4")],
)
def test_what_changes_a_value_a_sign_or_a_shape_stays(operation: str, shape: str, rewrite: Any) -> None:
    rows = "1" if shape.startswith("2") else "batch"
    constants = {"zero": ZERO, "one": ONE, "wide": np.zeros((2, 4), dtype=np.float32)}
    body = f"a = Tanh(x) b = {operation} y = Exp(b)"
    found = rewrite(body, constants, f"(float[{rows}, 4] x) => (float[{shape}] y)")
    assert len(found.operations) == 3
    found.require_agreement()
