from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import rewriter


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8, bias=False), nn.Sigmoid(), nn.Linear(8, 4))


def hook_on_first(model: nn.Sequential) -> None:
    model[0].register_forward_hook(lambda *_: None)


def pre_hook_on_second(model: nn.Sequential) -> None:
    model[2].register_forward_pre_hook(lambda *_: None)


def weight_norm(model: nn.Sequential) -> None:
    parametrizations.weight_norm(model[0])


def spectral_norm(model: nn.Sequential) -> None:
    parametrizations.spectral_norm(model[2])


def old_weight_norm(model: nn.Sequential) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(model[2])


def old_spectral_norm(model: nn.Sequential) -> None:
    nn.utils.spectral_norm(model[0])


def tied(model: nn.Sequential) -> None:
    model.append(nn.Linear(4, 8, bias=False))
    model[3].weight = model[0].weight


def integer_weights(model: nn.Sequential) -> None:
    weight = nn.Parameter(torch.zeros(8, 4, dtype=torch.int8), requires_grad=False)
    model[0].weight = weight


OBSTACLES = {
    hook_on_first: "0 has hooks or parametrizations",
    pre_hook_on_second: "2 has hooks or parametrizations",
    weight_norm: "0 has hooks or parametrizations",
    spectral_norm: "2 has hooks or parametrizations",
    old_weight_norm: "2 has hooks or parametrizations",
    old_spectral_norm: "0 has hooks or parametrizations",
    tied: "0.weight is tied to another module",
    integer_weights: "0.weight is no plain tensor",
}


@pytest.mark.parametrize("obstruct", OBSTACLES, ids=lambda obstruct: obstruct.__name__)
def test_a_linear_that_a_new_weight_would_break_is_not_resized(obstruct: Callable[[nn.Sequential], None]) -> None:
    model = mlp()
    obstruct(model)
    (site,) = rewriter.capture(model).sites
    assert site.kind == "linear"
    assert str(site.not_an_mlp).startswith(OBSTACLES[obstruct])


@pytest.mark.parametrize("obstruct", [hook_on_first, weight_norm, spectral_norm, tied])
def test_its_activation_alone_can_still_be_replaced(obstruct: Callable[[nn.Sequential], None]) -> None:
    model = mlp()
    obstruct(model)
    result = rewriter.rewrite(model.eval(), "ga", lifted=False)
    x = torch.rand(3, 4)
    torch.testing.assert_close(result.model(x), model(x))


def test_an_activation_with_hooks_is_left_alone() -> None:
    model = mlp()
    model[1].register_forward_hook(lambda *_: None)
    captured = rewriter.capture(model)
    assert captured.sites == ()
    assert "hooks" in captured.misses[0].reason


class LoRA(nn.Linear):
    """A linear with a low-rank addition and a forward of its own."""

    def __init__(self) -> None:
        super().__init__(4, 8)
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.up(self.down(x))


def test_a_linear_with_a_forward_of_its_own_is_no_linear() -> None:
    captured = rewriter.capture(nn.Sequential(LoRA(), nn.GELU(), nn.Linear(8, 2)))
    (site,) = captured.sites
    assert (site.kind, site.not_an_mlp) == ("linear", "add feeds it")


def test_a_linear_whose_object_has_another_forward_is_no_linear() -> None:
    model = mlp()
    model[0].forward = lambda x: x.repeat(1, 2)
    captured = rewriter.capture(model)
    assert captured.sites == ()


def test_a_quantised_linear_is_no_linear() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear}, torch.qint8)
    captured = rewriter.capture(model)
    assert captured.sites == ()
    assert captured.misses[0].reason.startswith("its layer is quantised: Linear")


def test_a_linear_that_fakes_quantisation_is_no_linear() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        qconfig = torch.ao.quantization.get_default_qat_qconfig()
        fake = torch.ao.nn.qat.Linear(4, 8, qconfig=qconfig)
    assert isinstance(fake, nn.Linear)
    captured = rewriter.capture(nn.Sequential(fake, nn.GELU(), nn.Linear(8, 2)))
    assert captured.sites == ()
