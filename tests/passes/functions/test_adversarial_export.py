import io

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from passes.functions import activation_names, adversarial

NAMES = [*activation_names(), "x + x**3/3"]
POINTS = torch.cat([torch.linspace(-40, 40, 47), torch.tensor([0.0])]).reshape(6, 8)
OTHER = torch.cat([POINTS.flip(0) / 3, POINTS[:2] * 0.01])


class All(nn.Module):
    """Every adversarial function on the same input."""

    def __init__(self):
        super().__init__()
        self.functions = nn.ModuleList(adversarial(name) for name in NAMES)
        self.functions.append(adversarial("tanh", trainable=True))
        self.functions.append(adversarial("sigmoid", 0.0))

    def forward(self, x):
        return tuple(g(x) for g in self.functions)


def agree(found, expected, rtol=1e-6):
    for name, own, exact in zip([*NAMES, "trained", "clamped"], found, expected, strict=True):
        assert torch.allclose(torch.as_tensor(own), exact, rtol=rtol, atol=1e-7), name


@pytest.fixture(scope="module")
def model():
    return All().eval()


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_torchscript_trace_agrees_after_saving(model):
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(model, POINTS), stream)
    stream.seek(0)
    agree(torch.jit.load(stream)(OTHER), model(OTHER))


def test_symbolic_trace_agrees(model):
    agree(torch.fx.symbolic_trace(model)(OTHER), model(OTHER))


@pytest.mark.parametrize("strict", [False, True])
def test_exported_program_agrees(model, strict):
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model, (POINTS,), dynamic_shapes=shapes, strict=strict)
    agree(program.module()(OTHER), model(OTHER))


def test_onnx_has_standard_operators_and_agrees(model, tmp_path):
    path = str(tmp_path / "all.onnx")
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(model, (POINTS,), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    agree(session.run(None, {session.get_inputs()[0].name: OTHER.numpy()}), model(OTHER), rtol=1e-5)
