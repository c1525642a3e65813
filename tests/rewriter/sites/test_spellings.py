from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from tests.models.written import written_mlp


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


# What each function of torch.nn.modules.activation is called as, in code between two linears.
CALLS: dict[str, str] = {
    "F.relu(h)": "relu",
    "torch.relu(h)": "relu",
    "h.relu()": "relu",
    "torch.ops.aten.relu(h)": "relu",
    "h.clamp(min=0)": "relu",
    "torch.clamp(h, 0)": "relu",
    "h.clip(0)": "relu",
    "h.clamp_min(0)": "relu",
    "torch.maximum(h, torch.zeros_like(h))": "relu",
    "torch.maximum(h, torch.tensor(0.0))": "relu",
    "torch.max(h, h.new_zeros(()))": "relu",
    "torch.where(h > 0, h, 0.0)": "relu",
    "torch.where(h > 0, h, torch.zeros_like(h))": "relu",
    "h.masked_fill(h < 0, 0)": "relu",
    "h * (h > 0)": "relu",
    "(h + h.abs()) / 2": "relu",
    "torch.where(h > 0, h, 0.1 * h)": "leaky_relu(negative_slope=0.1)",
    "F.relu6(h)": "relu6",
    "F.leaky_relu(h)": "leaky_relu",
    "F.elu(h)": "elu",
    "F.selu(h)": "selu",
    "torch.selu(h)": "selu",
    "F.celu(h, 2.0)": "celu(saturation=2)",
    "F.gelu(h)": "gelu",
    "F.silu(h)": "silu",
    "F.mish(h)": "mish",
    "F.softplus(h)": "softplus",
    "torch.log(1 + torch.exp(h))": "softplus",
    "F.softsign(h)": "softsign",
    "F.logsigmoid(h)": "logsigmoid",
    "F.tanhshrink(h)": "tanhshrink",
    "h - torch.tanh(h)": "tanhshrink",
    "F.hardtanh(h)": "hardtanh",
    "F.hardtanh(h, 0, 6)": "hardtanh(min_val=0, max_val=6)",
    "h.clamp(-1, 1)": "hardtanh",
    "F.hardsigmoid(h)": "hardsigmoid",
    "F.hardswish(h)": "hardswish",
    "F.hardshrink(h)": "hardshrink",
    "h.hardshrink(0.3)": "hardshrink(lambd=0.3)",
    "F.softshrink(h)": "softshrink",
    "F.threshold(h, 0.1, 0.0)": "threshold(threshold=0.1, value=0)",
    "torch.threshold(h, 0.1, 0.0)": "threshold(threshold=0.1, value=0)",
    "F.rrelu(h)": "rrelu",
    "torch.rrelu(h)": "rrelu",
    "torch.sigmoid(h)": "sigmoid",
    "h.sigmoid()": "sigmoid",
    "torch.special.expit(h)": "sigmoid",
    "torch.tanh(h)": "tanh",
    "h.tanh()": "tanh",
    "F.relu(h).square()": "squared_relu",
}


@pytest.mark.parametrize("inputs", [torch.zeros(2, 4), None], ids=["recorded", "traced"])
@pytest.mark.parametrize("code", CALLS)
def test_each_way_to_call_an_activation_is_a_site_between_two_linears(code: str, inputs: Tensor | None) -> None:
    (site,) = rewriter.capture(written_mlp(f"y = {code}"), inputs).sites
    assert (str(site.activation), site.kind) == (CALLS[code], "mlp")
    assert (site.producer, site.consumer) == ("fc1", "fc2")


@pytest.mark.parametrize("inputs", [torch.zeros(2, 4), None], ids=["recorded", "traced"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("F.prelu(h, self.slope)", "its formula reads"),
        ("torch.prelu(h, self.slope)", "its formula reads"),
        ("F.softmax(h, -1)", "softmax normalises over several values"),
        ("torch.softmax(h, -1)", "softmax normalises over several values"),
        ("h.softmax(-1)", "softmax normalises over several values"),
        ("F.log_softmax(h, -1)", "softmax normalises over several values"),
        ("F.softmin(h, -1)", "softmax normalises over several values"),
    ],
)
def test_what_is_no_function_of_one_value_is_a_miss_with_its_reason(
    code: str, reason: str, inputs: Tensor | None
) -> None:
    model = written_mlp(f"y = {code}")
    model.slope = nn.Parameter(torch.tensor([0.25]))
    captured = rewriter.capture(model, inputs)
    assert captured.sites == ()
    assert [reason in miss.reason for miss in captured.misses] == [True]


def test_every_activation_class_of_torch_is_a_site_or_a_miss() -> None:
    several = {"GLU", "MultiheadAttention", "Softmax", "Softmin", "LogSoftmax", "Softmax2d"}
    for name in torch.nn.modules.activation.__all__:
        if name in several:
            continue
        module = getattr(nn, name)(*((0.5, 0.0) if name == "Threshold" else ()))
        (site,) = rewriter.capture(Mlp(module), torch.zeros(2, 4)).sites
        assert (site.kind, site.path) == ("mlp", "act"), name
    for module in (nn.Softmax(-1), nn.Softmin(-1), nn.LogSoftmax(-1)):
        captured = rewriter.capture(Mlp(module), torch.zeros(2, 4))
        assert [miss.path for miss in captured.misses] == ["act"]


@pytest.mark.parametrize("inputs", [torch.zeros(2, 4), None], ids=["recorded", "traced"])
@pytest.mark.parametrize("held", [True, False])
def test_a_glu_of_a_linear_is_a_packed_gated_mlp(held: bool, inputs: Tensor | None) -> None:
    model = written_mlp("y = self.glu(self.wide(x))" if held else "y = F.glu(self.wide(x))")
    model.wide, model.glu = nn.Linear(4, 16), nn.GLU()
    del model.fc1
    type(model).fc1 = staticmethod(lambda x: x)
    sites = rewriter.capture(model, inputs).sites
    assert [(site.kind, site.producer, site.consumer) for site in sites] == [("gated", "wide", "fc2")]


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
