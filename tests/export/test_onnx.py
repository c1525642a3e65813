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

import rewriter
from export.onnx import export_onnx
from export.onnx_runtime import load_onnx, newest_opset, onnx_metadata
from export.onnx_size import count_nodes
from export.options import ExportOptions
from rewriter.errors import ExportError, UsageError
from rewriter.sources.inputs import InputSpec, example_inputs

RUN_ALONE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "export", "rewriter", "passes"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
inputs = {key: value for key, value in numpy.load(sys.argv[2]).items()}
numpy.save(sys.argv[3], session.run(None, inputs)[0])
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
    export_onnx(model, specs, tmp_path / "asked.onnx", options=ExportOptions(opset=18))
    opsets = [
        {entry.domain: entry.version for entry in onnx.load(path).opset_import}[""]
        for path in (written, tmp_path / "asked.onnx")
    ]
    assert opsets == [newest_opset(), 18]
    assert newest_opset() >= 20


def test_an_opset_that_the_exporter_cannot_write_is_refused(small, tmp_path: Path) -> None:
    model, specs = small
    with pytest.raises(ExportError, match="opset 9; found operators that need opset 18"):
        export_onnx(model, specs, tmp_path / "model.onnx", options=ExportOptions(opset=9))
    with pytest.raises(UsageError, match=f"an opset up to {newest_opset()}"):
        export_onnx(model, specs, tmp_path / "model.onnx", options=ExportOptions(opset=newest_opset() + 1))
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


FEATURES = (InputSpec(name="input", shape=(8,)),)
PIXELS = (InputSpec(name="pixels", shape=(3, 64, 64)),)


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.conv(pixels).mean((2, 3)))


def test_sizes_of_images_vary_on_request(tmp_path: Path) -> None:
    model = Pooled().eval()
    export_onnx(model, PIXELS, tmp_path / "model.onnx", options=ExportOptions(dynamic_size=True))
    (value,) = onnx.load(tmp_path / "model.onnx").graph.input
    assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == ["batch", 3, "height", "width"]
    images = torch.randn(2, 3, 40, 90)
    (found,) = load_onnx(tmp_path / "model.onnx")({"pixels": images})
    torch.testing.assert_close(found, model(images).detach(), rtol=1e-4, atol=1e-5)


def test_a_model_that_fixes_the_size_is_told_from_one_that_does_not_export(tmp_path: Path) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3 * 64 * 64, 2)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(pixels.flatten(1))

    with pytest.raises(ExportError, match=r"images may vary in height and width.*leave --dynamic-size out"):
        export_onnx(Flat(), PIXELS, tmp_path / "model.onnx", options=ExportOptions(dynamic_size=True))
    with pytest.raises(UsageError, match="an input of images"):
        export_onnx(nn.Linear(8, 2), FEATURES, tmp_path / "model.onnx", options=ExportOptions(dynamic_size=True))


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 5e-3), ("bf16", 4e-2)])
def test_half_weights_are_half_the_size_and_callers_need_not_change(
    precision: str, tolerance: float, tmp_path: Path
) -> None:
    model = nn.Sequential(nn.Linear(64, 512), nn.GELU(), nn.Linear(512, 8)).eval()
    specs, path = [InputSpec(name="input", shape=(64,))], tmp_path / "model.onnx"
    export_onnx(model, specs, path, options=ExportOptions(precision=precision))
    assert path.stat().st_size < 0.6 * 4 * sum(parameter.numel() for parameter in model.parameters())
    tensor = torch.randn(3, 64)
    (found,) = load_onnx(path)({"input": tensor})
    expected = model(tensor).detach()
    assert found.dtype == torch.float32
    error = (found - expected).abs().max() / expected.abs().max()
    assert 1e-5 < error < tolerance
    assert onnx_metadata(path) == {"precision": precision}


def test_weights_beyond_the_limit_of_one_file_go_to_a_second(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(64, 512), nn.GELU(), nn.Linear(512, 8)).eval()
    specs, path = [InputSpec(name="input", shape=(64,))], tmp_path / "model.onnx"
    export_onnx(model, specs, path, largest_file=2**16)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert path.stat().st_size < 2**16
    tensor = torch.randn(3, 64)
    (found,) = load_onnx(path)({"input": tensor})
    torch.testing.assert_close(found, model(tensor).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_the_graph_of_a_rewritten_model_is_as_small_as_a_simplifier_s(method: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxslim")
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)) for _ in range(2)))
    specs = [InputSpec(name="input", shape=(5, 16))]
    result = rewriter.rewrite(blocks.eval(), method, terms=2, example_inputs=torch.zeros(1, 5, 16))
    export_onnx(result.model, specs, tmp_path / "model.onnx")
    counts = count_nodes(tmp_path / "model.onnx")
    assert counts.simplified == counts.exported
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert sum(node.op_type in ("MatMul", "Gemm") for node in graph.node) == 4
    assert not any(node.domain for node in graph.node)
    contents = [(tuple(one.dims), one.data_type, one.raw_data) for one in graph.initializer if one.raw_data]
    assert len(set(contents)) == len(contents)
    tensor = torch.randn(7, 5, 16)
    (found,) = load_onnx(tmp_path / "model.onnx")({"input": tensor})
    expected = result.model(tensor).detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
