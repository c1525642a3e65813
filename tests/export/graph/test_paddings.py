from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

SIGNATURE = "(float[batch, 2, 5, 5] x) => (float[batch, 2, 5, 5] y)"
POOL = "MaxPool<kernel_shape = [2, 2], strides = [1, 1]>"
PADS = np.array([0, 0, 0, 0, 0, 0, 1, 1], dtype=np.int64)
ZERO = np.array(0, dtype=np.float32)


def optimised(model: onnx.ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("pad", ["Pad(x, pads, zero)", "Pad(x, pads)"])
def test_zeros_win_over_negative_values_in_an_optimised_session(pad: str, rewrite: Any) -> None:
    found = rewrite(f"p = {pad} y = {POOL}(p)", {"pads": PADS, "zero": ZERO}, SIGNATURE)
    x = -np.random.default_rng(0).random((2, 2, 5, 5), dtype=np.float32)
    y = optimised(found.after, x)
    assert not y[:, :, -1].any()
    assert not y[:, :, :, -1].any()
    assert (y[:, :, :-1, :-1] < 0).all()
    found.require_agreement()


def test_a_padding_before_anything_else_stays_as_it_is(rewrite: Any) -> None:
    body = f"p = Pad(x, pads, zero) a = Abs(p) y = {POOL}(a)"
    found = rewrite(body, {"pads": PADS, "zero": ZERO}, SIGNATURE)
    assert [len(node.input) for node in found.after.graph.node if node.op_type == "Pad"] == [3]


def test_axes_that_are_named_already_stay(rewrite: Any) -> None:
    constants = {"pads": PADS[[2, 3, 6, 7]], "zero": ZERO, "axes": np.array([2, 3], dtype=np.int64)}
    found = rewrite(f"p = Pad(x, pads, zero, axes) y = {POOL}(p)", constants, SIGNATURE)
    assert found.constants["axes"].tolist() == [2, 3]
    found.require_agreement()
