"""Layers between the ends of an MLP that cannot follow its hidden width leave a lone site with the reason."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter


class Net(nn.Module):
    """An MLP of 8 hidden units with a norm, in an arrangement given as a function."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.forward = MethodType(run, self)
        self.fc1, self.fc2, self.act, self.norm = nn.Linear(4, 8), nn.Linear(8, 4), nn.GELU(), norm or nn.LayerNorm(8)
        self.conv1, self.conv2 = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1)
        self.grouped, self.spatial = nn.Conv2d(8, 8, 1, groups=4), nn.Conv2d(1, 1, 1)


class UnitLength(nn.Module):
    """Divides by a sum over the channels, which doubles when they are repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x / x.square().sum(-1, keepdim=True).add(1e-6)


class NormWithActivation(nn.LayerNorm):
    """Normalises and activates in the same code."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps))


def behind(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.norm(m.act(m.fc1(x))))


def ahead(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(m.norm(m.fc1(x))))


def ahead_of_convolutions(m: Any, x: Tensor) -> Tensor:
    return m.conv2(m.act(m.norm(m.conv1(x))))


def called_twice(m: Any, x: Tensor) -> Tensor:
    return behind(m, x) + m.norm(x.repeat(1, 1, 2)).sum()


def read_elsewhere(m: Any, x: Tensor) -> Tensor:
    return behind(m, x) + m.norm.weight.sum()


def normed_value_used_again(m: Any, x: Tensor) -> Tensor:
    h = m.norm(m.fc1(x))
    return m.fc2(m.act(h)) + h.sum()


def by_a_function(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(F.layer_norm(m.fc1(x), (8,), m.norm.weight, m.norm.bias)))


def in_groups(m: Any, x: Tensor) -> Tensor:
    return m.conv2(m.grouped(m.act(m.conv1(x))))


def second_by_a_function(m: Any, x: Tensor) -> Tensor:
    return F.linear(m.act(m.fc1(x)), m.fc2.weight)


def first_by_a_function(m: Any, x: Tensor) -> Tensor:
    return m.fc2(m.act(F.linear(x, m.fc1.weight)))


def gate_over_space(m: Any, x: Tensor) -> Tensor:
    h = m.act(m.conv1(x))
    return m.conv2(h * torch.sigmoid(m.spatial(h.mean(1, keepdim=True))))


REFUSALS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "over two dimensions": (
        lambda: Net(ahead, nn.LayerNorm((5, 8))),
        "LayerNorm stands between the first linear and the activation",
    ),
    "over the width of an image": (
        lambda: Net(ahead_of_convolutions),
        "LayerNorm stands between the first linear and the activation",
    ),
    "a sum over channels": (lambda: Net(behind, UnitLength()), "its hidden value has 2 users"),
    "called twice": (lambda: Net(called_twice), "norm is also called outside this MLP"),
    "read elsewhere": (lambda: Net(read_elsewhere), "norm.weight is read outside its module"),
    "used again": (lambda: Net(normed_value_used_again), "its input, from LayerNorm, has another user"),
    "a function": (lambda: Net(by_a_function), "layer_norm stands between the first linear and the activation"),
    "first linear a function": (
        lambda: Net(first_by_a_function),
        "a linear feeds it as a function call, which cannot change its shape",
    ),
    "second linear a function": (
        lambda: Net(second_by_a_function),
        "its hidden value goes to a linear as a function call, which cannot change its shape",
    ),
    "in groups": (lambda: Net(in_groups), "its hidden value goes to a Conv2d of 4 groups, not to a second linear"),
    "a gate over space": (
        lambda: Net(gate_over_space),
        "its layers disagree about the number of hidden units",
    ),
    "norm and activation in one code": (
        lambda: nn.Sequential(nn.Linear(4, 8), NormWithActivation(8), nn.Linear(8, 4)),
        "one code computes its norm and its activation",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_it_is_a_lone_site_with_its_reason(case: str) -> None:
    make, reason = REFUSALS[case]
    captured = rewriter.capture(make())
    assert [(site.consumer, site.not_an_mlp) for site in captured.sites] == [(None, reason)]


def test_a_tied_norm_is_refused_with_its_reason() -> None:
    model = Net(behind)
    model.other = nn.LayerNorm(8)
    model.other.weight = model.norm.weight
    (site,) = rewriter.capture(model).sites
    assert site.not_an_mlp == "norm.weight is tied to another module"


def test_a_hook_on_a_norm_is_refused_with_its_reason() -> None:
    model = Net(behind)
    model.norm.register_forward_hook(lambda *_: None)
    (site,) = rewriter.capture(model).sites
    assert "hooks" in str(site.not_an_mlp)


def test_only_the_first_of_two_activations_around_a_depthwise_convolution_is_split() -> None:
    block = timm.models._efficientnet_blocks.InvertedResidual(4, 4, act_layer=nn.SiLU)
    first, second = rewriter.capture(block).sites
    assert (first.path, first.kind, first.consumer) == ("bn1.act", "mlp", "conv_pwl")
    assert (second.kind, second.not_an_mlp) == ("conv", "its hidden units are those of the SiLU before it")


def test_a_value_that_gates_itself_is_a_hidden_value_and_its_gate_is_none() -> None:
    model = Net(gate_over_space)
    captured = rewriter.capture(model)
    assert [site.path for site in captured.sites] == ["act"]
    assert [miss.function for miss in captured.misses] == ["sigmoid"]


@pytest.mark.parametrize(("width", "hidden"), [("match", 4), ("keep", 8), (12, 12)])
def test_the_width_divides_into_the_groups_of_the_norm(width: Any, hidden: int) -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.GroupNorm(4, 8), nn.SiLU(), nn.Conv2d(8, 4, 1))
    result = rewriter.rewrite(model, "hdfgd", width=width)
    norm = result.model[1]
    assert (norm.num_channels, norm.num_groups) == (2 * hidden, 8)


def test_a_width_that_does_not_divide_into_the_groups_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.GroupNorm(4, 8), nn.SiLU(), nn.Conv2d(8, 4, 1))
    with pytest.raises(rewriter.NoSiteError, match="10 hidden units do not divide into the 4 groups of its norm"):
        rewriter.plan(model, "hdfgd", width=10)


def test_a_norm_in_a_graph_that_the_user_traced_is_resized_too() -> None:
    model = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 4)))
    assert rewriter.graph_pass("hdfgd", width=6)(model).modified
    assert model.get_submodule("1").normalized_shape == (12,)
    assert model(torch.randn(3, 4)).shape == (3, 4)


def test_a_new_norm_keeps_class_dtype_mode_and_gradients_of_the_old_one() -> None:
    model = timm.layers.mlp.ConvMlp(4, 8, act_layer=nn.GELU, norm_layer=timm.layers.LayerNorm2d).double().eval()
    model.norm.bias.requires_grad_(False)
    new = rewriter.rewrite(model, "hdfgd", width=6, terms=2).model.norm
    assert (type(new), new.normalized_shape, new.training) == (timm.layers.LayerNorm2d, (12,), False)
    assert (new.weight.dtype, new.weight.requires_grad, new.bias.requires_grad) == (torch.float64, True, False)
    assert torch.equal(new.weight, torch.ones(12, dtype=torch.float64))
    assert model.norm.normalized_shape == (8,)
