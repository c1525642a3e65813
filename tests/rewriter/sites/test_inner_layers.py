"""MLPs with norms, depthwise convolutions and squeeze-and-excites between their ends keep what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.layers import GroupNorm1, LayerNorm2d, RmsNorm, SqueezeExcite
from timm.layers.mlp import ConvMlp, GlobalResponseNormMlp, Mlp, SwiGLU
from timm.models._efficientnet_blocks import EdgeResidual, InvertedResidual
from torch import Tensor, nn

import rewriter


class HandWrittenRMSNorm(nn.Module):
    """The spelling of transformers' RMSNorm classes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(x.dtype)


class BottleneckWithPool(nn.Module):
    """Two hidden layers in a chain, with convolutions of any kernel and a pool between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False, padding_mode="reflect")
        self.second = nn.Conv2d(6, 10, (3, 1), dilation=2, padding="same")
        self.third = nn.Conv2d(10, 4, 1)
        self.norm, self.pool = nn.BatchNorm2d(6), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(F.silu(self.second(self.pool(F.silu(self.norm(self.first(x)))))))


def mobile(expand: nn.Module, *between: nn.Module) -> nn.Module:
    return nn.Sequential(expand, nn.BatchNorm2d(8), nn.SiLU(), *between, nn.Conv2d(8, 4, 1))


def inverted(**options: Any) -> nn.Module:
    return InvertedResidual(4, 4, act_layer=nn.Hardswish, exp_ratio=2.0, se_layer=SqueezeExcite, **options)


def linears(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), *between, nn.Linear(8, 4))


TOKENS, IMAGE = (3, 5, 4), (3, 4, 9, 9)

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "layer norm behind": (lambda: Mlp(4, 8, norm_layer=nn.LayerNorm), TOKENS),
    "timm's rms norm behind": (lambda: Mlp(4, 8, norm_layer=RmsNorm), TOKENS),
    "hand-written rms norm behind": (lambda: linears(nn.SiLU(), HandWrittenRMSNorm(8)), TOKENS),
    "gate with a norm": (lambda: SwiGLU(4, 8, norm_layer=nn.LayerNorm), TOKENS),
    "global response norm": (lambda: GlobalResponseNormMlp(4, 8), (3, 5, 6, 4)),
    "global response norm, convolutions": (lambda: GlobalResponseNormMlp(4, 8, use_conv=True), IMAGE),
    "layer norm ahead": (lambda: linears(nn.LayerNorm(8), nn.GELU()), TOKENS),
    "rms norm ahead": (lambda: linears(nn.RMSNorm(8), nn.GELU()), TOKENS),
    "hand-written rms norm ahead": (lambda: linears(HandWrittenRMSNorm(8), nn.GELU()), TOKENS),
    "batch norm ahead": (lambda: linears(nn.BatchNorm1d(8), nn.GELU()), (6, 4)),
    "norm without parameters": (lambda: linears(nn.LayerNorm(8, elementwise_affine=False), nn.GELU()), TOKENS),
    "ConvMlp, batch norm": (lambda: ConvMlp(4, 8, act_layer=nn.GELU, norm_layer=nn.BatchNorm2d), IMAGE),
    "ConvMlp, layer norm": (lambda: ConvMlp(4, 8, act_layer=nn.GELU, norm_layer=LayerNorm2d), IMAGE),
    "ConvMlp, one group": (lambda: ConvMlp(4, 8, act_layer=nn.GELU, norm_layer=GroupNorm1), IMAGE),
    "groups ahead": (lambda: mobile(nn.Conv2d(4, 8, 1), nn.GroupNorm(4, 8)), IMAGE),
    "a group for each channel": (lambda: mobile(nn.Conv2d(4, 8, 1), nn.GroupNorm(8, 8)), IMAGE),
    "depthwise ahead": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 4, 1)
        ),
        IMAGE,
    ),
    "a prelu behind": (lambda: mobile(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.PReLU(8)), IMAGE),
    "inverted residual": (inverted, IMAGE),
    "inverted residual, same padding": (lambda: inverted(pad_type="same", stride=2), IMAGE),
    "edge residual": (lambda: EdgeResidual(4, 4, act_layer=nn.SiLU, exp_ratio=2.0, se_layer=SqueezeExcite), IMAGE),
    "3x3 convolutions": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 4, 3)),
        IMAGE,
    ),
    "bottleneck": (BottleneckWithPool, (3, 4, 20, 20)),
}  # fmt: skip


def example(case: str) -> tuple[nn.Module, Tensor]:
    make, shape = MODELS[case]
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.2 if tensor.ndim == 1 else tensor)
    return model, torch.randn(shape)


def tile(old: nn.Module, new: nn.Module) -> None:
    """Repeat the values of every old tensor along the dimension that grew, so that all branches are equal."""
    for source, target in zip(
        (*old.parameters(recurse=False), *old.buffers(recurse=False)),
        (*new.parameters(recurse=False), *new.buffers(recurse=False)),
        strict=True,
    ):
        times = [wide // narrow for wide, narrow in zip(target.shape, source.shape, strict=True)]
        target.data.copy_(source.repeat(times) if times else source)


@pytest.mark.parametrize("case", MODELS)
def test_equal_branches_of_full_width_compute_what_the_original_computed(case: str) -> None:
    model, x = example(case)
    result = rewriter.rewrite(model, "hdfgd", width="keep", terms=2)
    changed = [*result.recipe.linears, *result.recipe.channelwise]
    for record in changed:
        tile(model.get_submodule(record.path), result.model.get_submodule(record.path))
    with torch.no_grad():
        torch.testing.assert_close(result.model.eval()(x), model.eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_the_budget_holds_and_every_parameter_trains(case: str, method: str) -> None:
    model, x = example(case)
    result = rewriter.rewrite(model, method, terms=2, example_inputs=x)
    assert result.recipe.parameters_after <= result.recipe.parameters_before
    assert sum(p.numel() for p in result.model.parameters()) == result.recipe.parameters_after
    assert {site.kind for site in result.recipe.sites} <= {"mlp", "gated"}
    result.model.train()(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in result.model.parameters())


@pytest.mark.parametrize("case", MODELS)
def test_it_is_restored_bit_for_bit(case: str, tmp_path: Any) -> None:
    model, x = example(case)
    result = rewriter.rewrite(model, "sa", terms=2)
    rewriter.save(result, tmp_path / "out")
    restored = rewriter.restore(MODELS[case][0](), tmp_path / "out").eval()
    assert torch.equal(restored(x), result.model.eval()(x))


@pytest.mark.parametrize("case", MODELS)
def test_the_plan_of_a_model_without_weights_is_the_same(case: str) -> None:
    with torch.device("meta"):
        bare = MODELS[case][0]()
    assert rewriter.plan(bare, "hdfgd", terms=2) == rewriter.plan(MODELS[case][0](), "hdfgd", terms=2)


@pytest.mark.parametrize("case", sorted(MODELS.keys() - {"bottleneck", "groups ahead", "depthwise ahead"}))
def test_one_more_hidden_unit_would_break_the_budget(case: str) -> None:
    model, _ = example(case)
    recipe = rewriter.plan(model, "sa", terms=2)
    (site,) = recipe.sites
    assert site.hidden is not None
    wider = rewriter.plan(model, "sa", terms=2, width=site.hidden[1] + 1)
    assert recipe.parameters_after <= recipe.parameters_before < wider.parameters_after
