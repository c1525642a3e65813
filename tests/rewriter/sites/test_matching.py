from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter


class Net(nn.Module):
    """Submodules by keyword, and a forward given as a function of the module and the input."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.forward = MethodType(run, self)
        for name, module in modules.items():
            self.add_module(name, module)


def kinds(model: nn.Module) -> list[str]:
    return [site.kind for site in rewriter.capture(model).sites]


def test_linear_activation_linear_is_an_mlp_with_both_linears_named() -> None:
    (site,) = rewriter.capture(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))).sites
    assert (site.kind, site.path, site.producer, site.consumer) == ("mlp", "1", "0", "2")


@pytest.mark.parametrize("skipped", [nn.Dropout(0.5), nn.Identity(), nn.Sequential(nn.Dropout(0.1), nn.Identity())])
def test_dropout_and_identity_between_are_skipped(skipped: nn.Module) -> None:
    before = nn.Sequential(nn.Linear(4, 8), skipped, nn.ReLU(), nn.Linear(8, 2))
    after = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), skipped, nn.Linear(8, 2))
    assert kinds(before) == kinds(after) == ["mlp"]


def test_functional_dropout_between_is_skipped() -> None:
    model = Net(
        lambda m, x: m.fc2(F.dropout(m.act(m.fc1(x)), 0.5, False)),
        fc1=nn.Linear(4, 8),
        act=nn.GELU(),
        fc2=nn.Linear(8, 2),
    )
    assert kinds(model) == ["mlp"]


def test_a_classifier_of_three_linears_is_a_chain_of_two_mlps() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    first, second = rewriter.capture(model).sites
    assert (first.consumer, second.producer) == ("3", "3")
    assert first.hidden is not None
    assert second.hidden is not None
    assert first.hidden.project is second.hidden.expand


@pytest.mark.parametrize(
    ("model", "kind", "channels_dim"),
    [
        (nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)), "linear", -1),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten()), "conv", 1),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.GELU(), nn.Conv1d(4, 4, 3, groups=2)), "conv", 1),
        (nn.Sequential(nn.Embedding(9, 4), nn.Dropout(), nn.Sigmoid(), nn.Linear(4, 2)), "embedding", -1),
    ],
    ids=["linear", "conv-norm", "conv", "embedding"],
)
def test_a_lone_activation_is_a_site_of_what_feeds_it(model: nn.Module, kind: str, channels_dim: int) -> None:
    (site,) = rewriter.capture(model).sites
    assert (site.kind, site.channels_dim, site.consumer) == (kind, channels_dim, None)


def test_a_norm_of_another_width_before_the_second_linear_leaves_a_lone_site() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm((5, 8)), nn.Linear(8, 2))
    (site,) = rewriter.capture(model).sites
    assert (site.kind, site.consumer) == ("linear", None)
    assert site.not_an_mlp == "LayerNorm stands between the activation and the second linear"


def test_a_linear_subclass_that_keeps_linears_forward_counts_as_one() -> None:
    class Named(nn.Linear):
        pass

    assert kinds(nn.Sequential(Named(4, 8), nn.GELU(), nn.Linear(8, 2))) == ["mlp"]


def test_an_assertion_on_the_shape_of_a_value_is_no_other_user() -> None:
    def run(m: Any, x: Tensor) -> Tensor:
        h = m.conv(x)
        torch._assert(h.ndim == 4, "expected images")
        return m.act(h).flatten(1)

    assert kinds(Net(run, conv=nn.Conv2d(3, 4, 3), act=nn.SiLU(), fc=nn.Linear(4, 2))) == []
    assert kinds(Net(lambda m, x: m.fc(run(m, x)), conv=nn.Conv2d(3, 4, 3), act=nn.SiLU(), fc=nn.Linear(4, 2))) == [
        "conv"
    ]


@pytest.mark.parametrize(
    ("name", "mlps", "convs"),
    [("test_vit", 6, 0), ("test_resnet", 7, 5), ("test_convnext", 9, 0), ("test_efficientnet", 6, 5)],
)
def test_the_sites_of_timm_miniatures(name: str, mlps: int, convs: int) -> None:
    found = kinds(pytest.importorskip("timm").create_model(name))
    assert (found.count("mlp"), found.count("conv")) == (mlps, convs)


def test_the_sites_of_torchvisions_vgg() -> None:
    with torch.device("meta"):
        model = pytest.importorskip("torchvision").models.vgg11()
    sites = rewriter.capture(model).sites
    assert [site.path for site in sites if site.kind != "mlp"] == ["features.19"]
    assert sites[-3].not_an_mlp == "its hidden value goes to flatten, not to a second linear"
    assert len(sites) == 10
