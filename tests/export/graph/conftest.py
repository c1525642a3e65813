"""Small ONNX graphs, rewritten and run before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.graph.lightening import lighten

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Rewritten:
    """A graph before and after, and what both return."""

    before: onnx.ModelProto
    after: onnx.ModelProto
    expected: list[NDArray[Any]]
    found: list[NDArray[Any]]

    @property
    def operations(self) -> list[str]:
        return [node.op_type for node in self.after.graph.node]

    @property
    def constants(self) -> dict[str, NDArray[Any]]:
        return {one.name: numpy_helper.to_array(one) for one in self.after.graph.initializer}

    def require_agreement(self) -> None:
        for y, z in zip(self.expected, self.found, strict=True):
            np.testing.assert_allclose(z, y, rtol=0, atol=2e-6 * float(np.abs(y).max()))


Rewrite = Callable[..., Rewritten]


def parsed(signature: str, body: str, constants: Arrays) -> onnx.ModelProto:
    text = f'<ir_version: 10, opset_import: ["" : 23]> g {signature} {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def run(model: onnx.ModelProto) -> list[NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    feeds = {}
    for value in session.get_inputs():
        shape = [size if isinstance(size, int) else 3 for size in value.shape]
        feeds[value.name] = random.standard_normal(shape).astype(np.float32)
    return list(session.run(None, feeds))


@pytest.fixture
def rewrite() -> Rewrite:
    def call(body: str, constants: Arrays, signature: str, change: Callable[[ir.Model], None] = lighten) -> Rewritten:
        before = parsed(signature, body, constants)
        model = ir.from_proto(before)
        change(model)
        after = ir.to_proto(model)
        onnx.checker.check_model(after, full_check=True)
        return Rewritten(before, after, run(before), run(after))

    return call


@pytest.fixture
def rewrite_block(rewrite: Rewrite) -> Rewrite:
    """A block of packed branches: width 8, hidden width 6 or as asked for."""

    def call(branches: int, combine: str, hidden: int = 6, width: int = 8, **constants: float) -> Rewritten:
        random = np.random.default_rng(0)
        arrays: dict[str, NDArray[Any]] = {
            "W": random.standard_normal((width, branches * hidden)).astype(np.float32),
            "b": random.standard_normal(branches * hidden).astype(np.float32),
            "V": random.standard_normal((hidden, width)).astype(np.float32),
            "c": random.standard_normal(width).astype(np.float32),
            **{name: np.array(number, dtype=np.float32) for name, number in constants.items()},
        }
        names = ", ".join(f"x{i}" for i in range(1, branches + 1))
        split = f"{names} = Split<axis = -1, num_outputs = {branches}>(p)" if "Split" not in combine else ""
        body = f"m = MatMul(x, W) p = Add(m, b) {split} {combine} v = MatMul(y, V) z = Add(v, c)"
        return rewrite(body, arrays, f"(float[batch, 5, {width}] x) => (float[batch, 5, {width}] z)")

    return call
