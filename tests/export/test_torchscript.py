from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.outputs import flatten_output
from export.runner import METADATA_FILE
from export.torchscript import export_torchscript, load_torchscript
from rewriter.errors import ExportError
from rewriter.sources.inputs import InputSpec, example_inputs

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")

RUN_ALONE = """
import sys
import torch
module = torch.jit.load(sys.argv[1])
output = module(*torch.load(sys.argv[2]))
torch.save(output, sys.argv[3])
assert not {"export", "rewriter", "timm", "transformers"} & set(sys.modules)
"""


class Branching(nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        if input.sum() > 0:
            return input * 2
        return -input


@pytest.mark.parametrize("name", ["small", "text"])
def test_the_file_runs_in_a_process_that_imports_only_torch(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model, specs = request.getfixturevalue(name)  # the one is scripted, the other traced
    path, inputs, result = tmp_path / "model.ts", tmp_path / "inputs.pt", tmp_path / "result.pt"
    export_torchscript(model, specs, path)
    tensors = tuple(example_inputs(specs, 7).values())
    torch.save(tensors, inputs)
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALONE, path, inputs, result], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = flatten_output(model.eval()(*tensors))
    torch.testing.assert_close(flatten_output(torch.load(result)), expected, rtol=1e-4, atol=1e-5)


def test_control_flow_is_scripted_not_traced(tmp_path: Path) -> None:
    export_torchscript(Branching(), [InputSpec(name="input", shape=(2,))], tmp_path / "model.ts")
    run = load_torchscript(tmp_path / "model.ts")
    assert run({"input": torch.ones(1, 2)})[0].tolist() == [[2.0, 2.0]]
    assert run({"input": -torch.ones(1, 2)})[0].tolist() == [[1.0, 1.0]]


def test_inputs_in_another_order_than_forward_s_are_kept_in_the_specs_order(tmp_path: Path) -> None:
    class Subtract(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left - right

    specs = [InputSpec(name="right", shape=(1,)), InputSpec(name="left", shape=(1,))]
    export_torchscript(Subtract(), specs, tmp_path / "model.ts")
    module = torch.jit.load(tmp_path / "model.ts")
    assert module(torch.tensor([[2.0]]), torch.tensor([[5.0]])).item() == 3.0


def test_the_module_is_frozen(small, tmp_path: Path) -> None:
    model, specs = small
    export_torchscript(model.train(), specs, tmp_path / "model.ts")
    module = torch.jit.load(tmp_path / "model.ts")
    assert list(module.parameters()) == []


def test_the_metadata_is_a_member_of_the_archive(small, tmp_path: Path) -> None:
    model, specs = small
    export_torchscript(model, specs, tmp_path / "model.ts", metadata={"method": "sa"})
    files = {METADATA_FILE: ""}
    torch.jit.load(tmp_path / "model.ts", _extra_files=files)
    assert files[METADATA_FILE] == b'{"method": "sa"}'


def test_deprecation_warnings_are_silenced_here_alone(small, tmp_path: Path) -> None:
    model, specs = small
    filters = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        export_torchscript(model, specs, tmp_path / "model.ts")
        load_torchscript(tmp_path / "model.ts")
        warnings.warn("still heard", DeprecationWarning, stacklevel=1)
    assert [str(one.message) for one in seen] == ["still heard"]
    assert warnings.filters == filters


def test_a_model_that_can_be_neither_scripted_nor_traced_is_an_export_error(tmp_path: Path) -> None:
    class Changing(nn.Module):
        def forward(self, **inputs: Tensor) -> Tensor:
            if torch.jit.is_tracing():
                raise RuntimeError("not while tracing")
            return inputs["x"]

    with pytest.raises(ExportError, match=r"TorchScript can export; found RuntimeError: not while tracing"):
        export_torchscript(Changing(), [InputSpec(name="x", shape=(8,))], tmp_path / "model.ts")
    assert not list(tmp_path.iterdir())
