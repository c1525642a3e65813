from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export.onnx import export_onnx, load_onnx, newest_opset
from rewriter.errors import ExportError, UsageError
from rewriter.sources.inputs import InputSpec, example_inputs

RUN_ALONE = """
import sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
inputs = {key: value for key, value in numpy.load(sys.argv[2]).items()}
numpy.save(sys.argv[3], session.run(None, inputs)[0])
assert not {"torch", "export", "rewriter"} & set(sys.modules)
"""


def test_names_and_dynamic_axes_are_a_person_s(text, tmp_path: Path) -> None:
    model, specs = text
    export_onnx(model, specs, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    axes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.output)
    }
    assert axes == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "sequence"],
        "last_hidden_state": ["batch", "sequence", 32],
        "pooler_output": ["batch", 32],
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One export with all defaults and some metadata."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
    export_onnx(model, [InputSpec(name="input", shape=(8,))], path, metadata={"method": "sa", "recipe": "0123"})
    return path


def test_one_file_holds_the_graph_the_weights_and_the_metadata(written: Path) -> None:
    assert list(written.parent.iterdir()) == [written]
    found = onnx.load(written, load_external_data=False)
    assert {entry.key: entry.value for entry in found.metadata_props} == {"method": "sa", "recipe": "0123"}


def test_the_file_tells_nothing_of_the_machine_that_made_it(written: Path) -> None:
    content = written.read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content


def test_the_opset_is_the_newest_that_runs_unless_one_is_asked_for(small, written: Path, tmp_path: Path) -> None:
    model, specs = small
    export_onnx(model, specs, tmp_path / "asked.onnx", opset=18)
    opsets = [
        {entry.domain: entry.version for entry in onnx.load(path).opset_import}[""]
        for path in (written, tmp_path / "asked.onnx")
    ]
    assert opsets == [newest_opset(), 18]
    assert newest_opset() >= 20


def test_an_opset_that_the_exporter_cannot_write_is_refused(small, tmp_path: Path) -> None:
    model, specs = small
    with pytest.raises(ExportError, match="opset 9; found operators that need opset 18"):
        export_onnx(model, specs, tmp_path / "model.onnx", opset=9)
    with pytest.raises(UsageError, match=f"an opset up to {newest_opset()}"):
        export_onnx(model, specs, tmp_path / "model.onnx", opset=newest_opset() + 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["small", "text"])
def test_the_file_runs_with_onnxruntime_and_numpy_alone(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model, specs = request.getfixturevalue(name)
    path, inputs, result = tmp_path / "model.onnx", tmp_path / "inputs.npz", tmp_path / "result.npy"
    export_onnx(model, specs, path)
    tensors = example_inputs(specs, 7)
    np.savez(inputs, **{name: tensor.numpy() for name, tensor in tensors.items()})
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALONE, path, inputs, result], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        output = model.eval()(*tensors.values())
    expected = output if isinstance(output, Tensor) else next(iter(output.values()))
    np.testing.assert_allclose(np.load(result), expected.numpy(), rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_an_input_the_graph_does_not_use_is_still_accepted(tmp_path: Path) -> None:
    class Ignores(nn.Module):
        def forward(self, used: Tensor, unused: Tensor) -> Tensor:
            return used * 2

    specs = [InputSpec(name="used", shape=(2,)), InputSpec(name="unused", shape=(2,))]
    export_onnx(Ignores(), specs, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["used", "unused"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_and_outputs_pass_through(dtype: torch.dtype, tmp_path: Path) -> None:
    class Reshaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, input: Tensor) -> Tensor:
            return input.reshape(-1, 4, 2)

    export_onnx(Reshaped().to(dtype), [InputSpec(name="input", shape=(8,))], tmp_path / "model.onnx")
    tensor = torch.randn(3, 8).to(dtype)
    (output,) = load_onnx(tmp_path / "model.onnx")({"input": tensor})
    assert output.dtype == dtype
    assert torch.equal(output, tensor.reshape(3, 4, 2))
