import pytest
import torch

from passes.evaluation.blocks import blocks_of
from passes.functions import decomposition, decomposition_names
from passes.kernels import routine
from passes.layers import SplitActivation

NAMES = decomposition_names()
EXAMPLES = ["tanh/4", "gelu/4", "elu/2", "hardswish/2"]
WIDTH = 5
LARGE = 3 * routine._PER_THREAD * torch.get_num_threads()


def layer(name, dim=-1):
    return SplitActivation(decomposition(name), dim=dim)


def packed(name, rows=7, dtype=torch.float64, spread=2.0):
    generator = torch.Generator().manual_seed(5)
    points = (torch.randn(rows, decomposition(name).terms * WIDTH, generator=generator) * spread).to(dtype)
    return points.where(points.abs() != 4, 3)  # where a clamp ends, versions of torch differ on its slope


def gradients(function, points, upstream):
    leaf = points.detach().requires_grad_()
    value = function(leaf)
    return value, torch.autograd.grad(value, leaf, upstream)[0]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_the_plain_program(name):
    own, points = layer(name), packed(name, rows=400)
    upstream = torch.randn(400, WIDTH, dtype=torch.float64)
    for found, expected in zip(gradients(own, points, upstream), gradients(own._plain, points, upstream), strict=True):
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_is_as_exact_as_it_can_be(name, dtype, tolerance):
    points = packed(name, rows=100, dtype=dtype)
    upstream = torch.randn(100, WIDTH).to(dtype)
    found = [value.detach() for value in gradients(layer(name), points, upstream)]
    exact = gradients(layer(name)._plain, points.double(), upstream.double())
    for own, expected in zip(found, exact, strict=True):
        assert own.dtype == dtype
        assert float((own - expected.detach()).abs().max() / expected.detach().abs().max().clamp(min=1)) < tolerance


@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives_are_those_of_finite_differences(name):
    points = packed(name, rows=2, spread=1.0).requires_grad_()
    assert torch.autograd.gradcheck(layer(name), points)
    assert torch.autograd.gradgradcheck(layer(name), points)


@pytest.mark.parametrize("name", ["tanh/4", "sigmoid/4"])
def test_gradient_of_a_clamped_input_ends_just_beyond_the_bound(name):
    edges = torch.tensor([-torch.inf, -4.0001, -3.9999, 3.9999, 4.0001, torch.inf], dtype=torch.float64)
    points = edges[:, None] * torch.tensor([1.0, 0.5, 0.5, 0.5], dtype=torch.float64)
    points[:, 1:] = points[:, 1:].clamp(-2, 2)
    for dtype in (torch.float32, torch.float64):
        _, found = gradients(layer(name), points.to(dtype), torch.ones(6, 1, dtype=dtype))
        assert (found[:, 0] != 0).tolist() == [False, False, True, True, False, False]


def test_float16_value_beyond_the_range_has_no_gradient():
    points = torch.tensor([[300.0, 300.0], [200.0, 200.0]], dtype=torch.float16)
    value, found = gradients(layer("squared_relu/2"), points, torch.ones(2, 1, dtype=torch.float16))
    assert value.flatten().tolist() == [65504.0, 40000.0]
    assert found.tolist() == [[0.0, 0.0], [200.0, 200.0]]


def test_float16_gradient_beyond_the_range_is_infinite():
    points = torch.tensor([[200.0, 200.0]], dtype=torch.float16)
    _, found = gradients(layer("squared_relu/2"), points, torch.full((1, 1), 6e4, dtype=torch.float16))
    assert found.isinf().all()


def layouts():
    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)  # so that layouts alone can differ

    rows = 2 * LARGE // 96
    generator = torch.Generator().manual_seed(3)
    plane = normal(2, 96, rows // 2, 1)
    return {
        "rows": (normal(rows, 96), -1),
        "few rows": (normal(3, 96), -1),
        "channels first": (plane, 1),
        "channels last": (plane.to(memory_format=torch.channels_last), 1),
        "part of a row": (normal(rows, 200)[:, 50:146], -1),
        "transposed": (normal(96, rows).t(), 1),
        "expanded": (normal(1, 96).expand(rows, 96), -1),
        "one row": (normal(1, 4 * LARGE + 4), -1),
        "no channels in front": (normal(96, rows), 0),
        "empty": (torch.empty(0, 96), -1),
    }


@pytest.mark.parametrize("compiler", ["gcc", ""])
@pytest.mark.parametrize("layout", layouts())
def test_layouts_change_nothing(layout, compiler, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    points, dim = layouts()[layout]
    own = layer("tanh/4", dim)
    shape = own._plain(points).shape
    upstream = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found, expected = gradients(own, points, upstream), gradients(own._plain, points, upstream)
    for value, exact, like in zip(found, expected, (expected[0], torch.empty_like(points)), strict=True):
        assert value.shape == exact.shape
        assert value.numel() == 0 or value.squeeze().stride() == like.squeeze().stride()
        assert torch.allclose(value, exact, rtol=1e-12, atol=1e-12)


def test_blocks_are_small():
    points, _ = layouts()["channels last"]
    assert len(blocks_of([points], routine._PER_THREAD)) > 2
    assert max(block.numel() for (block,) in blocks_of([points], routine._PER_THREAD)) <= LARGE // 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_backward_keeps_the_packed_input_and_nothing_else(name, dtype):
    own, kept, points = layer(name), [], packed(name, dtype=dtype).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        own(points)
    assert {t.data_ptr() for t in kept} == {points.data_ptr()}
    assert all(t.shape == points.shape for t in kept)


@pytest.mark.parametrize("name", EXAMPLES)
def test_function_transforms_see_the_plain_program(name):
    own, points = layer(name), packed(name, rows=3, spread=1.0)
    plain = own._plain
    for transform in (torch.func.jacrev, torch.func.jacfwd, torch.func.hessian):
        assert torch.allclose(transform(own)(points), transform(plain)(points), rtol=1e-9, atol=1e-12)
    assert torch.allclose(torch.func.vmap(own)(points), plain(points))
    columns = torch.func.vmap(layer(name, 0), in_dims=1, out_dims=1)(points.t())
    assert torch.allclose(columns, plain(points).t())
    each = torch.func.vmap(torch.func.grad(lambda p: own(p).sum()))(points)
    assert torch.allclose(each, torch.func.grad(lambda p: plain(p).sum())(points))


def test_batched_gradients_of_one_backward_pass():
    own, points = layer("gelu/4"), packed("gelu/4", rows=1).requires_grad_()
    rows = torch.eye(WIDTH, dtype=torch.float64).unsqueeze(1)
    (found,) = torch.autograd.grad(own(points), points, rows, is_grads_batched=True)
    (expected,) = torch.autograd.grad(own._plain(points), points, rows, is_grads_batched=True)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("name", EXAMPLES)
def test_compiled_without_graph_breaks_to_plain_operations(name):
    own, points = layer(name), packed(name).requires_grad_()
    torch.compiler.reset()
    found = torch.compile(own, fullgraph=True, backend="aot_eager")(points)
    (slope,) = torch.autograd.grad(found.sum(), points)
    (expected,) = torch.autograd.grad(own(points).sum(), points)
    assert torch.allclose(found, own(points))
    assert torch.allclose(slope, expected)


def test_fake_tensors_get_fake_results():
    with torch._subclasses.FakeTensorMode() as mode:
        result = layer("gelu/4")(mode.from_tensor(packed("gelu/4")))
    assert result.shape == (7, WIDTH)
    assert layer("gelu/4")(packed("gelu/4").to("meta")).device.type == "meta"


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing_gives_the_same_gradient(use_reentrant):
    own, points = layer("tanh/4"), packed("tanh/4").requires_grad_()
    (expected,) = torch.autograd.grad(own(points).square().sum(), points)
    torch.utils.checkpoint.checkpoint(own, points, use_reentrant=use_reentrant).square().sum().backward()
    assert torch.equal(points.grad, expected)


def test_autocast_keeps_the_dtype_of_the_linear_before():
    model = torch.nn.Sequential(torch.nn.Linear(6, 4 * WIDTH), layer("gelu/4"))
    points = torch.randn(9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        result = model(points)
    result.sum().backward()
    assert result.dtype == torch.bfloat16
    assert model[0].weight.grad.dtype == torch.float32
    assert torch.allclose(result.float(), model(points), atol=0.1)
