"""The fused functions on a GPU: the routines of the CPU are the oracle; these tests run where there is one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from passes.functions import adversarial, decomposition
from passes.layers import SplitActivation, SplitAdversarial

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA sees")

LAYERS = {
    "gelu/4": lambda: SplitActivation(decomposition("gelu/4"), dim=-1),
    "tanh/4, clamped": lambda: SplitActivation(decomposition("tanh/4"), dim=-1),
    "A of tanh/4": lambda: SplitAdversarial(decomposition("tanh/4"), dim=-1),
    "A of gelu/4, in tables": lambda: SplitAdversarial(decomposition("gelu/4"), dim=-1),
    "A of tanh/4, its structure": lambda: SplitAdversarial(decomposition("tanh/4"), dim=-1, combine="structure"),
    "g of tanh": lambda: adversarial("tanh"),
    "g of silu, in a table": lambda: adversarial("silu"),
}
WIDTH = 4 * 613
EXACT = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def step(layer: nn.Module, points: Tensor) -> list[Tensor]:
    """Return the value and the gradients of its sum, on the CPU."""
    leaf = points.detach().clone().requires_grad_()
    value = layer(leaf)
    gradients = torch.autograd.grad(value, [leaf, *layer.parameters()], torch.ones_like(value))
    return [one.detach().cpu() for one in (value, *gradients)]


def require_same(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for own, other in zip(found, expected, strict=True):
        assert own.dtype == other.dtype
        size = float(other.abs().max().clamp(min=1))
        torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("dtype", list(EXACT))
@pytest.mark.parametrize("name", list(LAYERS))
def test_a_gpu_computes_what_the_cpu_does(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, points = LAYERS[name](), torch.randn(33, WIDTH).to(dtype)
    expected = step(layer, points)
    require_same(step(layer.cuda(), points.cuda()), expected, EXACT[dtype])


@pytest.mark.parametrize("name", list(LAYERS))
def test_a_captured_graph_replays_what_eager_computes(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]().cuda()
    sample, points = (torch.randn(33, WIDTH, device="cuda").requires_grad_() for _ in range(2))
    expected = step(layer, points)
    captured = torch.cuda.make_graphed_callables(copy.deepcopy(layer), (sample,))
    for _ in range(2):
        require_same(step(captured, points), expected, 1e-6)


@pytest.mark.parametrize("name", list(LAYERS))
def test_compiled_whole_it_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    layer, points = LAYERS[name]().cuda(), torch.randn(33, WIDTH, device="cuda")
    torch.compiler.reset()
    require_same(step(torch.compile(layer, fullgraph=True), points), step(layer, points), EXACT[torch.float32])
