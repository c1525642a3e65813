"""At the old width and without data, copies in all branches compute what the original did."""

from __future__ import annotations

import pytest
import torch
from timm.layers import GluMlp, SwiGLU
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

import rewriter
from rewriter.evaluation import call, evaluating


class TwoLayers(nn.Module):
    def __init__(self, first: nn.Module, last: nn.Module, *between: nn.Module) -> None:
        super().__init__()
        self.first, self.between, self.act, self.last = first, nn.Sequential(*between), nn.GELU(), last

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.act(self.between(self.first(x))))
        return result


def _trained_norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(16)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.uniform_(0.5, 2.0)
    return norm


VECTORS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))
MODELS = {
    "plain": (lambda: TwoLayers(nn.Linear(8, 16), nn.Linear(16, 8)), VECTORS),
    "chain": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 4)),
        VECTORS,
    ),
    "transposed": (lambda: TwoLayers(Conv1D(16, 8), Conv1D(8, 16)), VECTORS),
    "layer norm inside": (lambda: TwoLayers(nn.Linear(8, 16), nn.Linear(16, 8), nn.LayerNorm(16)), VECTORS),
    "convolutions": (lambda: TwoLayers(nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 8, 3), _trained_norm()), IMAGES),
    "depthwise inside": (
        lambda: TwoLayers(nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16)),
        IMAGES,
    ),
    "gate in one layer": (lambda: GluMlp(8, 32, act_layer=nn.SiLU), VECTORS),
    "gate in one layer, second half": (lambda: GluMlp(8, 32, act_layer=nn.SiLU, gate_last=False), VECTORS),
    "gate in two layers": (lambda: SwiGLU(8, 16), VECTORS),
}  # fmt: skip


def _error(model: nn.Module, other: nn.Module, inputs: Tensor) -> float:
    with evaluating(model), evaluating(other):
        expected, found = call(model, inputs), call(other, inputs)
    return float((expected - found).norm() / expected.norm())


@pytest.mark.parametrize("name", MODELS)
def test_all_branches_equal_compute_the_original(name: str) -> None:
    torch.manual_seed(0)
    make, inputs = MODELS[name]
    model = make().eval()
    result = rewriter.rewrite(model, "hdfgd", width="keep", init="warm", example_inputs=inputs)
    assert result.recipe.linears
    assert _error(model, result.model, inputs) < 1e-5


@pytest.mark.parametrize("name", ["plain", "chain", "convolutions", "gate in one layer", "gate in two layers"])
def test_more_units_than_before_compute_the_original(name: str) -> None:
    torch.manual_seed(0)
    make, inputs = MODELS[name]
    model = make().eval()
    result = rewriter.rewrite(model, "hdfgd", width=37, init="warm", example_inputs=inputs)
    assert _error(model, result.model, inputs) < 1e-5


def test_a_low_rank_factor_of_full_rank_computes_the_original() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    result = rewriter.rewrite(model, "hdfgd", width="keep", init="warm", low_rank=True)
    assert result.recipe.linears[0].rank is not None
    assert _error(model, result.model, IMAGES) < 1e-5


def test_a_warm_start_takes_the_decomposition_with_the_fewest_branches_unless_told_otherwise() -> None:
    model = MODELS["plain"][0]()
    assert rewriter.plan(model, "hdfgd", init="warm").sites[0].placement.function == "gelu/2"
    assert rewriter.plan(model, "hdfgd", init="warm", terms=4).sites[0].placement.function == "gelu/4"
    assert rewriter.plan(model, "hdfgd").sites[0].placement.function == "gelu/4"
