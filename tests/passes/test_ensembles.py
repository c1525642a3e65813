"""Ensembles by ``torch.func``: one rewritten model evaluated with many sets of weights at once, and its gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vmap

import rewriter

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ga": ("ga", {}),
    "ga, a table": ("ga", {"activation": "gelu", "lifted": False}),
    "ga, trained": ("ga", {"activation": "softplus", "trainable": True}),
    "sa": ("sa", {"activation": "gelu"}),
    "hdfgd": ("hdfgd", {"activation": "gelu"}),
    "swap": ("swap", {"activation": "mish"}),
    "eafo": ("eafo", {}),
}
SIZES = [(3, 8), (64, 300)]  # the second is evaluated in blocks


def ensemble(
    case: str, width: int = 8, dtype: torch.dtype = torch.float64
) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    """Give the model, and the stacked parameters and buffers of four of its kind."""
    method, options = OPTIONS[case]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, width), nn.GELU(), nn.Linear(width, 4), nn.GELU(), nn.Linear(4, 2))
    options = {"calibration": [torch.randn(64, 4)]} if method == "eafo" else options
    model = rewriter.rewrite(model, method, **options).model.to(dtype).eval()
    models = [copy.deepcopy(model) for _ in range(4)]
    with torch.no_grad():
        for one in models:
            for parameter in one.parameters():
                parameter.add_(torch.randn_like(parameter) / 10)
    return model, *stack_module_state(models)


def member(parameters: dict[str, Tensor], buffers: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    return {name: value[number] for name, value in (parameters | buffers).items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch", "width"), SIZES)
@pytest.mark.parametrize("case", OPTIONS)
def test_members_at_once_compute_what_each_computes(case: str, batch: int, width: int, dtype: torch.dtype) -> None:
    model, parameters, buffers = ensemble(case, width, dtype)
    x = torch.randn(batch, 4, dtype=dtype)
    together = vmap(lambda p, b: functional_call(model, p | b, (x,)))(parameters, buffers)
    for number, found in enumerate(together):
        torch.testing.assert_close(found, functional_call(model, member(parameters, buffers, number), (x,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch", "width"), SIZES)
@pytest.mark.parametrize("case", OPTIONS)
def test_gradients_of_members_at_once_are_those_of_each(case: str, batch: int, width: int, dtype: torch.dtype) -> None:
    model, parameters, buffers = ensemble(case, width, dtype)
    x = torch.randn(batch, 4, dtype=dtype)

    def loss(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return functional_call(model, p | b, (x,)).square().mean()

    together = vmap(grad(loss))(parameters, buffers)
    for number in range(4):
        own = {name: value[number].clone().requires_grad_() for name, value in parameters.items()}
        value = loss(own, {name: value[number] for name, value in buffers.items()})
        expected = torch.autograd.grad(value, list(own.values()))
        for name, gradient in zip(own, expected, strict=True):
            torch.testing.assert_close(together[name][number], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", OPTIONS)
def test_gradients_for_single_examples_are_those_of_each(case: str) -> None:
    model, parameters, buffers = ensemble(case)
    own = member(parameters, buffers, 0)
    x = torch.randn(5, 4, dtype=torch.float64)

    def loss(p: dict[str, Tensor], example: Tensor) -> Tensor:
        return functional_call(model, p, (example[None],)).square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(own, x)
    for number, example in enumerate(x):
        for name, gradient in grad(loss)(own, example).items():
            torch.testing.assert_close(together[name][number], gradient)


@pytest.mark.parametrize("case", OPTIONS)
def test_forward_and_backward_derivatives_agree(case: str) -> None:
    model, parameters, buffers = ensemble(case)
    own = member(parameters, buffers, 0)
    x, direction = torch.randn(2, 3, 4, dtype=torch.float64)

    def run(value: Tensor) -> Tensor:
        return functional_call(model, own, (value,))

    _, forward = jvp(run, (x,), (direction,))
    backward = torch.einsum("abcd,cd->ab", jacrev(run)(x), direction)
    torch.testing.assert_close(forward, backward)
