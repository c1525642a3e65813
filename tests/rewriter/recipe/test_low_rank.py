"""Lone activations: their layer is split over a low-rank factor when it is asked for, within its budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import SqueezeExcite
from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn

import rewriter


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(120, 30), nn.GELU(), nn.LayerNorm(30))


def without_bias() -> nn.Module:
    return nn.Sequential(nn.Linear(60, 40, bias=False), nn.LayerNorm(40), nn.SiLU(), nn.LayerNorm(40))


def convolution() -> nn.Module:
    stem = nn.Conv2d(6, 8, 3, stride=2, padding=1, padding_mode="reflect")
    return nn.Sequential(stem, nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2), nn.Flatten())


def transposed() -> nn.Module:
    conv1d = pytest.importorskip("transformers").pytorch_utils.Conv1D
    return nn.Sequential(conv1d(30, 120), nn.GELU(), nn.LayerNorm(30))


class InOwnCode(nn.Module):
    """An activation that no module stands for, and code that asks for the dtype of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(120, 30), nn.LayerNorm(30)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.tanh(self.fc(x.to(self.fc.weight.dtype))))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (plain, (5, 120)),
    "no bias, norm ahead": (without_bias, (5, 60)),
    "convolution and norm": (convolution, (4, 6, 17, 17)),
    "transposed linear": (transposed, (5, 120)),
    "in its own code": (InOwnCode, (5, 120)),
}


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_it_is_split_within_its_budget_and_every_parameter_trains(case: str, method: str) -> None:
    make, shape = MODELS[case]
    torch.manual_seed(0)
    model, x = make(), torch.randn(shape)
    result = rewriter.rewrite(model, method, terms=2, low_rank=True, example_inputs=x)
    (site,), (layer,) = result.recipe.sites, result.recipe.linears
    assert site.parameters_after <= site.parameters_before
    assert sum(p.numel() for p in result.model.parameters()) == result.recipe.parameters_after
    result.model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in result.model.parameters())
    assert layer.rank is not None
    wider = rewriter.plan(model, method, terms=2, low_rank=True, width=layer.rank + 1)
    assert wider.parameters_after > wider.parameters_before


@pytest.mark.parametrize("case", MODELS)
def test_equal_branches_of_full_rank_compute_what_the_original_computed(case: str) -> None:
    make, shape = MODELS[case]
    torch.manual_seed(0)
    model = make().eval()
    result = rewriter.rewrite(model, "hdfgd", terms=2, low_rank=True, width="keep")
    (record,) = result.recipe.linears
    old, new = model.get_submodule(record.path), result.model.get_submodule(record.path)
    with torch.no_grad():
        weight = old.weight.T if case == "transposed linear" else old.weight
        new.reduce.weight.copy_(weight)
        new.branch.weight.copy_(torch.eye(len(weight)).repeat(2, 1).reshape(new.branch.weight.shape))
        if new.branch.bias is not None:
            new.branch.bias.copy_(old.bias.repeat(2))
        x = torch.randn(shape)
        torch.testing.assert_close(result.model.eval()(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", MODELS)
def test_it_is_restored_bit_for_bit(case: str, tmp_path: Any) -> None:
    make, shape = MODELS[case]
    result = rewriter.rewrite(make(), "sa", terms=2, low_rank=True)
    rewriter.save(result, tmp_path / "out")
    restored = rewriter.restore(make(), tmp_path / "out").eval()
    x = torch.randn(shape)
    assert torch.equal(restored(x), result.model.eval()(x))


def test_the_rank_is_that_of_the_formula_less_the_biases_of_the_branches() -> None:
    (layer,) = rewriter.plan(plain(), "hdfgd", terms=2, low_rank=True).linears
    assert layer.rank == (120 * 30 + 30 - 2 * 30) // (120 + 2 * 30)
    assert layer.parameters_after == layer.rank * (120 + 2 * 30) + 2 * 30


def test_the_two_layers_keep_dtype_mode_stride_and_gradients_of_the_old_one() -> None:
    model = convolution().double().eval()
    model[0].bias.requires_grad_(False)
    new = rewriter.rewrite(model, "hdfgd", low_rank=True).model[0]
    assert (new.reduce.stride, new.reduce.padding_mode, new.reduce.bias) == ((2, 2), "reflect", None)
    assert {p.dtype for p in new.parameters()} == {torch.float64}
    assert not any(module.training for module in new.modules())
    assert (new.branch.bias.requires_grad, new.branch.weight.requires_grad) == (False, True)


def test_lone_activations_are_left_unless_they_are_asked_for() -> None:
    with pytest.raises(rewriter.NoSiteError, match="not an MLP: its hidden value goes to the output"):
        rewriter.plan(plain(), "hdfgd")


def test_the_last_layer_of_an_mlp_is_not_split_as_well() -> None:
    model = nn.Sequential(nn.Linear(20, 80), nn.GELU(), nn.Linear(80, 20), nn.GELU(), nn.LayerNorm(20))
    recipe = rewriter.plan(model, "sa", low_rank=True)
    assert [site.path for site in recipe.sites] == ["1"]
    assert [miss.reason for miss in recipe.misses] == ["its layer 2 belongs to the MLP at 1"]


def test_neither_is_a_layer_between_the_ends_of_an_mlp() -> None:
    block = InvertedResidual(16, 16, act_layer=nn.SiLU, exp_ratio=4.0, se_layer=SqueezeExcite)
    recipe = rewriter.plan(block, "hdfgd", activation="silu", low_rank=True)
    reasons = {miss.path: miss.reason for miss in recipe.misses}
    assert [site.path for site in recipe.sites] == ["bn1.act"]
    assert reasons["se.act"] == "its layer se.fc1 belongs to the MLP at bn1.act"


def test_the_layer_ahead_of_a_depthwise_convolution_is_the_one_that_is_split() -> None:
    torch.manual_seed(0)
    depthwise = nn.Conv2d(8, 8, 3, groups=8)
    model = nn.Sequential(nn.Conv2d(20, 8, 1), nn.BatchNorm2d(8), depthwise, nn.SiLU(), nn.MaxPool2d(2), nn.Flatten())
    result = rewriter.rewrite(model, "hdfgd", low_rank=True, example_inputs=torch.randn(2, 20, 9, 9))
    assert [layer.path for layer in result.recipe.linears] == ["0"]
    assert (result.model[2].groups, result.model[1].num_features) == (16, 16)


def test_a_layer_that_is_too_narrow_for_the_branches_is_left_with_the_reason() -> None:
    model = nn.Sequential(nn.Linear(1, 30), nn.GELU(), nn.LayerNorm(30))
    with pytest.raises(rewriter.NoSiteError, match="the budget leaves a rank below 1 for 4 branches of its layer"):
        rewriter.plan(model, "hdfgd", low_rank=True)


def test_a_layer_that_is_called_elsewhere_too_is_left() -> None:
    class Twice(InOwnCode):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.fc(2 * x)

    with pytest.raises(rewriter.NoSiteError):
        rewriter.plan(Twice(), "hdfgd", low_rank=True)
