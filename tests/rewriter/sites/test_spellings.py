from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter


class Mlp(nn.Module):
    """An MLP whose activation is any callable."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(4, 8), nn.Linear(8, 4), act

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


SPELLINGS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "F.relu": (F.relu, "relu"),
    "F.relu inplace": (lambda x: F.relu(x, inplace=True), "relu"),
    "torch.relu": (torch.relu, "relu"),
    "torch.relu_": (torch.relu_, "relu"),
    "x.relu()": (lambda x: x.relu(), "relu"),
    "x.relu_()": (lambda x: x.relu_(), "relu"),
    "nn.ReLU": (nn.ReLU(), "relu"),
    "nn.ReLU inplace": (nn.ReLU(inplace=True), "relu"),
    "x*sigmoid(x)": (lambda x: x * torch.sigmoid(x), "silu"),
    "sigmoid(x)*x": (lambda x: x.sigmoid() * x, "silu"),
    "x.mul(sigmoid(x))": (lambda x: x.mul(x.sigmoid()), "silu"),
    "F.gelu": (F.gelu, "gelu"),
    "F.gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), "gelu_tanh"),
    "nn.GELU tanh": (nn.GELU(approximate="tanh"), "gelu_tanh"),
    "F.silu": (F.silu, "silu"),
    "nn.SiLU": (nn.SiLU(), "silu"),
    "torch.tanh": (torch.tanh, "tanh"),
    "F.leaky_relu": (lambda x: F.leaky_relu(x, 0.2), "leaky_relu(negative_slope=0.2)"),
    "nn.LeakyReLU": (nn.LeakyReLU(), "leaky_relu"),
    "F.elu": (lambda x: F.elu(x, alpha=0.5), "elu(saturation=0.5)"),
    "nn.ELU": (nn.ELU(0.5), "elu(saturation=0.5)"),
    "nn.CELU": (nn.CELU(2.0), "celu(saturation=2)"),
    "nn.Hardtanh": (nn.Hardtanh(-2, 2), "hardtanh(min_val=-2, max_val=2)"),
    "nn.Softplus": (nn.Softplus(2.0), "softplus(beta=2)"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_recognised_with_its_parameters(spelling: str) -> None:
    act, name = SPELLINGS[spelling]
    (site,) = rewriter.capture(Mlp(act)).sites
    assert (str(site.activation), site.kind) == (name, "mlp")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_replacing_a_spelling_by_its_own_function_computes_the_same(spelling: str) -> None:
    act, name = SPELLINGS[spelling]
    torch.manual_seed(0)
    model, x = Mlp(act), torch.randn(16, 4)
    twin = rewriter.rewrite(model, "ga", lifted=False)
    assert twin.recipe.sites[0].placement.function == name
    torch.testing.assert_close(twin.model(x), model(x))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("timm.layers.GELU", "gelu"),
        ("timm.layers.GELUTanh", "gelu_tanh"),
        ("timm.layers.QuickGELU", "quick_gelu"),
        ("timm.layers.Swish", "silu"),
        ("timm.layers.HardSwish", "hardswish"),
        ("transformers.activations.GELUActivation", "gelu"),
        ("transformers.activations.NewGELUActivation", "gelu_tanh"),
        ("transformers.activations.QuickGELUActivation", "quick_gelu"),
        ("transformers.activations.ReLUSquaredActivation", "squared_relu"),
    ],
)
def test_another_librarys_class_means_what_its_values_say(path: str, name: str) -> None:
    module, _, attribute = path.rpartition(".")
    act = getattr(pytest.importorskip(module), attribute)()
    torch.manual_seed(0)
    model, x = Mlp(act), torch.randn(64, 4)
    (site,) = rewriter.capture(model).sites
    assert str(site.activation) == name
    torch.testing.assert_close(rewriter.rewrite(model, "ga", lifted=False).model(x), model(x))


class NotQuiteReLU(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - 1


def test_a_subclass_of_an_activation_with_its_own_forward_is_not_taken_for_it() -> None:
    model, x = Mlp(NotQuiteReLU()), torch.randn(4, 4)
    (site,) = rewriter.capture(model).sites
    assert site.activation.name != "relu"
    torch.testing.assert_close(rewriter.rewrite(model, "ga", lifted=False).model(x), model(x))
