"""New parameters: device, dtype, mode, requires_grad and memory format of what they replace; trainable ones, always."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import rewriter

METHODS = ["ga", "hdfgd", "sa", "swap"]


def mlp(activation: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), activation or nn.GELU(), nn.Linear(8, 4))


def new_parameters(result: rewriter.Result, path: str) -> list[nn.Parameter]:
    """The parameters of a result's module that the layer or activation at a path now has."""
    return list(result.model.get_submodule(path).parameters())


@pytest.mark.parametrize("method", METHODS)
def test_each_site_has_the_dtype_and_device_of_its_own_layers(method: str) -> None:
    first, second = mlp().to(torch.float64), mlp().to(torch.bfloat16).to("meta")
    result = rewriter.rewrite(nn.ModuleList([first, second]), method)
    assert len(result.recipe.sites) == 2
    for path, dtype, device in (("0", torch.float64, "cpu"), ("1", torch.bfloat16, "meta")):
        found = {(p.dtype, p.device.type) for p in new_parameters(result, path)}
        assert found == {(dtype, device)}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_each_site_has_the_mode_of_its_own_layers(method: str, training: bool) -> None:
    model = nn.Sequential(mlp(), mlp()).train(training)
    model[1].train(not training)
    result = rewriter.rewrite(model, method)
    assert len(result.recipe.sites) == 2
    assert {module.training for module in result.model[0].modules()} == {training}
    assert {module.training for module in result.model[1].modules()} == {not training}


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "2.weight", "2.bias"])
def test_each_parameter_keeps_whether_it_is_trained(name: str) -> None:
    model = mlp()
    model.get_parameter(name).requires_grad_(False)
    result = rewriter.rewrite(model, "sa")
    assert result.recipe.linears
    frozen = {key for key, parameter in result.model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name}


@pytest.mark.parametrize("frozen", [True, False])
def test_the_new_coefficients_of_a_frozen_model_are_trained(frozen: bool) -> None:
    model = mlp().requires_grad_(not frozen)
    (epsilon,) = new_parameters(rewriter.rewrite(model, "swap"), "1")
    assert epsilon.requires_grad


@pytest.mark.parametrize(
    ("convolution", "memory_format"),
    [(nn.Conv2d, torch.channels_last), (nn.Conv3d, torch.channels_last_3d), (nn.Conv2d, torch.contiguous_format)],
)
def test_the_weights_of_resized_convolutions_keep_their_memory_format(
    convolution: Callable[..., nn.Module], memory_format: torch.memory_format
) -> None:
    model = nn.Sequential(convolution(4, 8, 1), nn.GELU(), convolution(8, 4, 1)).to(memory_format=memory_format)
    result = rewriter.rewrite(model, "hdfgd")
    assert len(result.recipe.linears) == 2
    for layer in (result.model[0], result.model[2]):
        expected = torch.empty(layer.weight.shape, memory_format=memory_format).stride()
        assert layer.weight.stride() == expected


def test_the_memory_format_changes_no_value() -> None:
    def convolutions() -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 8, 1), nn.GELU(), nn.Conv2d(8, 4, 1))

    plain = rewriter.rewrite(convolutions(), "hdfgd").model
    last = rewriter.rewrite(convolutions().to(memory_format=torch.channels_last), "hdfgd").model
    for path in ("0.weight", "2.weight", "0.bias", "2.bias"):
        assert torch.equal(plain.get_parameter(path), last.get_parameter(path))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_rewrite_where_gradients_are_off_gives_a_model_that_trains(method: str, mode: Callable[..., Tensor]) -> None:
    model = mlp()
    with mode():
        result = rewriter.rewrite(model, method)
    assert not any(p.is_inference() for p in result.model.parameters())
    result.model(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in result.model.parameters())


def test_a_model_made_in_inference_mode_becomes_one_that_trains() -> None:
    with torch.inference_mode():
        model = mlp()
    assert model[0].weight.is_inference()
    result = rewriter.rewrite(model, "sa")
    result.model(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in result.model.parameters())


def test_a_folder_is_restored_in_inference_mode_to_a_model_that_trains(tmp_path: pytest.TempPathFactory) -> None:
    rewriter.save(rewriter.rewrite(mlp(), "sa"), f"{tmp_path}/out")
    fresh = mlp()
    with torch.inference_mode():
        model = rewriter.restore(fresh, f"{tmp_path}/out")
    model(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_an_optimizer_made_before_the_rewrite_holds_parameters_that_are_no_longer_in_the_model() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    rewriter.rewrite(model, "sa", inplace=True)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in model.named_parameters() if id(p) in held} == set()
