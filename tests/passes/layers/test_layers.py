import copy
import io

import onnxruntime
import pytest
import torch
from torch import nn

from passes.functions import activation, adversarial, decomposition, decomposition_names
from passes.layers import Lifted, SplitActivation, SplitAdversarial

WIDTH = 6


def layers(name):
    return {
        "F": SplitActivation(decomposition(name), dim=1),
        "A": SplitAdversarial(decomposition(name), dim=1),
        "A structure": SplitAdversarial(decomposition(name), dim=1, combine="structure"),
    }


def packed(name, spread=2.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(11)
    return (torch.randn(3, decomposition(name).terms * WIDTH, generator=generator) * spread).to(dtype)


@pytest.mark.parametrize("kind", ["F", "A", "A structure"])
@pytest.mark.parametrize("name", decomposition_names())
def test_branch_i_is_the_ith_contiguous_chunk(name, kind):
    layer, inputs = layers(name)[kind], packed(name, 1.0)
    branches = [inputs[:, i * WIDTH : (i + 1) * WIDTH] for i in range(decomposition(name).terms)]
    function = decomposition(name) if kind == "F" else layer.function
    assert torch.allclose(layer(inputs), function(*branches), rtol=1e-6, atol=3e-6)


def test_packs_along_any_dimension():
    inputs = torch.randn(2, 8, 5, 5)
    assert SplitActivation(decomposition("tanh/4"), dim=1)(inputs).shape == (2, 2, 5, 5)
    by_last = SplitActivation(decomposition("tanh/4"), dim=-1)(inputs.movedim(1, -1))
    torch.testing.assert_close(SplitActivation(decomposition("tanh/4"), dim=1)(inputs), by_last.movedim(-1, 1))


@pytest.mark.parametrize("kind", ["F", "A", "A structure"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", decomposition_names())
def test_values_and_gradients_are_finite_far_out(name, dtype, kind):
    terms, layer = decomposition(name).terms, layers(name)[kind]
    levels = torch.tensor([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e4])
    inputs = torch.cartesian_prod(*[levels] * terms).to(dtype).requires_grad_()
    result = layer(inputs)
    (gradient,) = torch.autograd.grad(result.sum(dtype=torch.float64), inputs)
    assert result.dtype == dtype
    assert result.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["tanh/4", "gelu/4"])
def test_half_precision_computes_in_single(name):
    inputs = packed(name, dtype=torch.float16)
    for layer in layers(name).values():
        assert torch.equal(layer(inputs), layer(inputs.float()).half())


@pytest.mark.parametrize("name", ["tanh/4", "sigmoid/4"])
def test_unbounded_decompositions_are_clamped(name):
    far = torch.full((1, 4), 1e4)
    far[0, 2:] = -far[0, 2:] * torch.tensor([1.0, -1.0])
    near = far.clamp(-4, 4)
    assert torch.equal(
        SplitActivation(decomposition(name), dim=1)(far), SplitActivation(decomposition(name), dim=1)(near)
    )
    assert not torch.equal(
        SplitActivation(decomposition(name), dim=1, clamp=2.0)(near),
        SplitActivation(decomposition(name), dim=1, clamp=None)(near),
    )


def test_bounded_growth_is_not_clamped():
    assert float(SplitActivation(decomposition("silu/2"), dim=0)(torch.tensor([100.0, 100.0]))) == 100.0


@pytest.mark.parametrize("inplace", [False, True])
def test_lifted_adds_a_straight_line(inplace):
    inputs = torch.linspace(-3, 3, 13)
    expected = torch.relu(inputs) + 0.5 * inputs
    assert torch.equal(Lifted(nn.ReLU(inplace=inplace), 0.5)(inputs.clone()), expected)


@pytest.mark.parametrize("kind", ["F", "A", "A structure"])
def test_copies_and_state_dicts_keep_the_function(kind):
    layer, inputs = layers("gelu/4")[kind], packed("gelu/4")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3)
    fresh = layers("gelu/4")[kind]
    fresh.load_state_dict(layer.state_dict(), strict=True)
    for other in (copy.deepcopy(layer), fresh):
        assert torch.equal(other(inputs), layer(inputs))
        assert {p.data_ptr() for p in other.parameters()}.isdisjoint(p.data_ptr() for p in layer.parameters())


def test_text_tells_the_function():
    assert "tanh/4" in str(SplitActivation(decomposition("tanh/4"), dim=1))
    assert "exp(x1)" in str(SplitActivation(decomposition("tanh/4"), dim=1))
    assert "Bell" in str(SplitAdversarial(decomposition("tanh/4"), dim=1))


def exported():
    """The layers whose export is tested: every kind of formula."""
    return {
        "tanh/4": layers("tanh/4")["F"],
        "gelu/4 A": layers("gelu/4")["A"],
        "tanh/4 A": layers("tanh/4")["A"],
        "hardswish/2 F": layers("hardswish/2")["F"],
        "sigmoid g": adversarial("sigmoid"),
        "elu g": adversarial("elu"),
        "tanh g, small lift": adversarial("tanh", 0.1),
        "gelu g": adversarial("gelu", 0.5),
        "lifted": Lifted(activation("crrelu"), 1.0),
    }


class Side(nn.Module):
    """All of them on the same input."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(exported().values())

    def forward(self, x):
        return tuple(layer(x) for layer in self.layers)


POINTS = torch.linspace(-40, 40, 3 * 24).reshape(3, 24)
MORE = torch.cat([POINTS, -POINTS / 7])


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("name", exported())
def test_torchscript_trace_is_saved_and_loaded(name):
    layer = exported()[name]
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, POINTS), stream)
    stream.seek(0)
    loaded = torch.jit.load(stream)
    assert torch.allclose(loaded(MORE), layer(MORE), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", exported())
def test_symbolic_trace_goes_through(name):
    layer = exported()[name]
    assert torch.allclose(torch.fx.symbolic_trace(layer)(POINTS), layer(POINTS), rtol=1e-6, atol=1e-5)


def test_export_with_dynamic_batch():
    model = Side().eval()
    program = torch.export.export(model, (POINTS,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for name, found, expected in zip(exported(), program.module()(MORE), model(MORE), strict=True):
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-5), name


def test_onnx_runtime_agrees(tmp_path):
    model, path = Side().eval(), str(tmp_path / "layers.onnx")
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(model, (POINTS,), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: MORE.numpy()})
    for name, found, expected in zip(exported(), results, model(MORE), strict=True):
        assert torch.allclose(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5), name
