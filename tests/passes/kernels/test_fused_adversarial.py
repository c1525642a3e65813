import pytest
import torch

from passes.functions import decomposition, decomposition_names
from passes.layers import SplitAdversarial
from rewriter.errors import UsageError

WIDTH = 4
# Every family, straight lines and a table.
EXAMPLES = ["tanh/4", "gelu/4", "softplus/2", "hardtanh/2"]


@pytest.fixture(params=["sum", "structure"])
def combine(request):
    return request.param


def layer(name, combine, alpha=1.0, dtype=torch.float32):
    own = SplitAdversarial(decomposition(name), dim=-1, alpha=alpha, combine=combine).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(dtype) * 0.2)
    return own


def plain(own):
    def value(packed):
        return own._plain(packed, *own.function.coefficients(torch.promote_types(packed.dtype, torch.float32)))

    return value


def packed(own, rows=200, dtype=torch.float64, spread=2.5):
    generator = torch.Generator().manual_seed(5)
    points = (torch.randn(rows, own.decomposition.terms * WIDTH, generator=generator) * spread).to(dtype)
    return points.where(points != points.round(), 0.4)  # corners have any slope between those of their sides


def gradients(own, function, points, upstream):
    leaf = points.detach().requires_grad_()
    value = function(leaf)
    return [value.detach(), *torch.autograd.grad(value, [leaf, *own.parameters()], upstream)]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", decomposition_names())
def test_values_and_gradients_are_those_of_the_plain_program(name, combine, alpha):
    try:
        own = layer(name, combine, alpha, torch.float64)
    except UsageError:
        assert alpha == 0
        return
    points = packed(own)
    upstream = torch.randn(200, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found, expected = (gradients(own, function, points, upstream) for function in (own, plain(own)))
    for value, exact in zip(found, expected, strict=True):
        # The slope of a table's cubics, which the plain program takes, differs from the function's.
        assert float((value - exact).abs().max()) < 2e-6 * max(1.0, float(exact.abs().max()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("name", decomposition_names())
def test_every_dtype_is_as_exact_as_it_can_be(name, combine, dtype, tolerance):
    own = layer(name, combine)
    points, upstream = packed(own, 100, dtype), torch.randn(100, WIDTH).to(dtype)
    found = gradients(own, own, points, upstream)
    exact = gradients(own, plain(own), points.double(), upstream.double())
    for value, expected in zip(found[:2], exact[:2], strict=True):
        assert value.dtype == dtype
        assert float((value - expected).abs().max() / expected.abs().max().clamp(min=1)) < tolerance
    for value, expected in zip(found[2:], exact[2:], strict=True):
        assert torch.allclose(value, expected, rtol=tolerance * 10, atol=tolerance * 100)


@pytest.mark.parametrize("name", EXAMPLES)
def test_first_and_second_derivatives_are_those_of_finite_differences(name, combine):
    own = layer(name, combine, dtype=torch.float64)
    points = packed(own, 2, spread=1.0).requires_grad_()
    assert torch.autograd.gradcheck(own, points, rtol=1e-4)
    assert torch.autograd.gradgradcheck(own, points, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", EXAMPLES)
def test_backward_keeps_the_packed_input_and_coefficients_alone(name, combine):
    own, kept = layer(name, combine), []
    points = packed(own, dtype=torch.float32).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        own(points)
    assert {t.data_ptr() for t in kept if t.dim()} == {points.data_ptr()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_function_transforms_see_the_plain_program(name, combine):
    own = layer(name, combine, dtype=torch.float64)
    points = packed(own, 3, spread=1.0)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        assert torch.allclose(transform(own)(points), transform(plain(own))(points), rtol=1e-6, atol=1e-9)
    assert torch.allclose(torch.func.vmap(own)(points), plain(own)(points))
    each = torch.func.vmap(torch.func.grad(lambda p: own(p).sum()))(points)
    assert torch.allclose(each, torch.func.vmap(torch.func.grad(lambda p: plain(own)(p).sum()))(points))


@pytest.mark.parametrize("name", EXAMPLES)
def test_compiled_without_graph_breaks_to_plain_operations(name, combine):
    own = layer(name, combine)
    points = packed(own, dtype=torch.float32).requires_grad_()
    torch.compiler.reset()
    found = torch.compile(own, fullgraph=True, backend="aot_eager")(points)
    slopes = torch.autograd.grad(found.sum(), [points, *own.parameters()])
    for slope, expected in zip(
        slopes, torch.autograd.grad(own(points).sum(), [points, *own.parameters()]), strict=True
    ):
        assert torch.allclose(slope, expected, rtol=1e-5, atol=1e-4)


def test_values_far_out_are_finite(combine):
    for name in EXAMPLES:
        own = layer(name, combine)
        points = torch.tensor([-1e4, -40.0, 40.0, 1e4])[:, None].repeat(1, own.decomposition.terms).requires_grad_()
        value = own(points)
        value.sum().backward()
        assert value.isfinite().all()
        assert points.grad.isfinite().all()
        assert torch.allclose(value, plain(own)(points), rtol=1e-5)
