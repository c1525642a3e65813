"""``nn.TransformerEncoder``: C++ computes it in eval mode without gradients, where no new function would be seen."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter

METHODS = ["ga", "hdfgd", "sa", "swap"]
PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])


def encoder(*, norm_first: bool, nested: bool) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first
    )
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)


def by_hand(model: nn.TransformerEncoder, functions: list[nn.Module], x: Tensor, padding: Tensor | None) -> Tensor:
    """Compute the layers as torch's Python code does."""
    for layer, function in zip(model.layers, functions, strict=True):

        def attend(value: Tensor, layer: nn.TransformerEncoderLayer = layer) -> Tensor:
            mask = None if padding is None else torch.zeros(padding.shape).masked_fill(padding, float("-inf"))
            return layer.self_attn(value, value, value, key_padding_mask=mask, need_weights=False)[0]

        if layer.norm_first:
            x = x + attend(layer.norm1(x))
            x = x + layer.linear2(function(layer.linear1(layer.norm2(x))))
        else:
            x = layer.norm1(x + attend(x))
            x = layer.norm2(x + layer.linear2(function(layer.linear1(x))))
    return x


@pytest.mark.parametrize("traced", [True, False], ids=["with inputs", "without"])
@pytest.mark.parametrize("masked", [True, False], ids=["padding", "no padding"])
@pytest.mark.parametrize("nested", [True, False], ids=["nested", "plain"])
@pytest.mark.parametrize("norm_first", [True, False], ids=["norm first", "norm last"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore")
def test_the_new_functions_are_run_in_every_mode(
    method: str, norm_first: bool, nested: bool, masked: bool, traced: bool
) -> None:
    model, x = encoder(norm_first=norm_first, nested=nested), torch.randn(2, 5, 8)
    padding = PADDING if masked else None
    example = {"src": x, "src_key_padding_mask": padding} if masked else {"src": x}
    options = {"activation": "mish"} if method == "swap" else {}
    result = rewriter.rewrite(model, method, example_inputs=example if traced else None, **options)
    assert [site.kind for site in result.recipe.sites] == ["mlp", "mlp"]
    functions = [layer.activation for layer in result.model.layers]
    assert not any(function is F.gelu for function in functions)
    kept = PADDING.logical_not() if masked else torch.ones(2, 5, dtype=torch.bool)
    for training in (True, False):
        with torch.no_grad():
            expected = by_hand(copy.deepcopy(result.model).train(training), functions, x, padding)
        for gradients in (nullcontext(), torch.no_grad(), torch.inference_mode()):
            with gradients:
                found = result.model.train(training)(x, src_key_padding_mask=padding)
            torch.testing.assert_close(found[kept], expected[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore")
def test_every_function_gets_gradients_with_padding(method: str) -> None:
    model = rewriter.rewrite(
        encoder(norm_first=False, nested=True), method, **({"activation": "mish"} if method == "swap" else {})
    ).model
    model(torch.randn(2, 5, 8), src_key_padding_mask=PADDING)[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
