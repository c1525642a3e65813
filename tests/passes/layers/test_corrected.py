import copy

import onnxruntime
import pytest
import torch
from torch import nn

from passes.functions.correction import correction
from passes.functions.density import normal
from passes.functions.spline import Spline
from passes.layers.corrected import Corrected


def corrected(strength: float = 0.01) -> Corrected:
    density = normal()
    return Corrected(nn.Tanh(), Spline(correction("tanh", density), density.low, density.high), strength)


POINTS = torch.linspace(-12, 12, 501, dtype=torch.float64)


def test_layer_is_the_activation_less_its_correction():
    exact = torch.tanh(POINTS) - 0.3 * correction("tanh", normal())(POINTS)
    assert torch.allclose(corrected(0.3)(POINTS), exact, atol=1e-6)
    assert torch.equal(corrected(0.0)(POINTS), torch.tanh(POINTS))


def test_strength_is_the_one_parameter_and_gets_the_correction_as_its_gradient():
    layer = corrected()
    assert [name for name, _ in layer.named_parameters()] == ["strength"]
    assert list(layer.state_dict()) == ["strength"]
    layer(POINTS).sum().backward()
    expected = -correction("tanh", normal())(POINTS).sum()
    assert float(layer.strength.grad) == pytest.approx(float(expected), abs=1e-5)
    layer(POINTS[:1] + 1).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_values_and_gradients_are_finite_far_out_in_every_dtype(dtype):
    points = torch.tensor([-1e4, -33.0, -1e-3, 0.0, 1e-3, 33.0, 1e4], dtype=dtype, requires_grad=True)
    found = corrected().to(dtype)(points)
    found.sum().backward()
    assert found.dtype == dtype
    assert found.isfinite().all()
    assert points.grad.isfinite().all()


def test_an_activation_that_works_in_place_does_not_spoil_the_correction():
    plain, inplace = corrected(0.5), corrected(0.5)
    plain.activation, inplace.activation = nn.ReLU(), nn.ReLU(inplace=True)
    assert torch.equal(inplace(POINTS.clone()), plain(POINTS))


def test_layer_survives_tracing_and_onnx_with_the_same_values(tmp_path):
    layer, x = corrected(0.5).eval(), torch.randn(3, 7, generator=torch.Generator().manual_seed(0)) * 4
    expected = layer(x).detach()
    assert torch.allclose(torch.jit.trace(copy.deepcopy(layer), (torch.zeros(3, 7),))(x), expected, atol=1e-6)
    path = tmp_path / "layer.onnx"
    torch.onnx.export(layer, (torch.zeros(3, 7),), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-6)
