"""Parametrized, normalised and pruned weights: the layer keeps its shape, its activation can still be changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import rewriter


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.abs()


def old_weight_norm(layer: nn.Linear) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(layer)


WAYS: dict[str, Callable[[nn.Linear], object]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own parametrization": lambda layer: parametrize.register_parametrization(layer, "weight", Symmetric()),
    "weight_norm with hooks": old_weight_norm,
    "spectral_norm with hooks": nn.utils.spectral_norm,
    "pruning mask": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "structured pruning mask": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=0),
    "bias mask": lambda layer: prune.l1_unstructured(layer, "bias", 0.5),
}


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("way", WAYS)
def test_the_layer_is_not_resized_and_the_reason_names_it(way: str, layer: int) -> None:
    model = mlp()
    WAYS[way](model[layer])
    (site,) = rewriter.capture(model).sites
    assert site.not_an_mlp == f"{layer} has hooks or parametrizations, which a new weight would lose"
    with pytest.raises(rewriter.NoSiteError, match="hooks or parametrizations"):
        rewriter.plan(model, "sa")


@pytest.mark.parametrize("way", WAYS)
def test_the_activation_alone_is_changed_and_the_weight_still_computed(way: str) -> None:
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(5, 4)
    WAYS[way](model[0])
    model.eval()
    keys = model.state_dict().keys()
    # In place, since deepcopy refuses models that keep a computed weight as an attribute.
    assert rewriter.rewrite(model, "swap", activation="mish", inplace=True).model is model
    assert isinstance(model[1], nn.Mish)
    assert model.state_dict().keys() == keys
    torch.testing.assert_close(model(x), model[2](nn.functional.mish(model[0](x))))
    model(x).sum().backward()
    assert all(p.grad is not None for p in model[0].parameters())


@pytest.mark.parametrize("way", ["weight_norm with hooks", "pruning mask"])
def test_a_model_with_a_computed_weight_says_to_work_in_place(way: str) -> None:
    model = mlp()
    WAYS[way](model[0])
    with pytest.raises(rewriter.UsageError, match=r"copy\.deepcopy can copy.*work on it with inplace=True"):
        rewriter.rewrite(model, "ga")


def test_a_mask_made_permanent_is_no_obstacle() -> None:
    model = mlp()
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.remove(model[0], "weight")
    assert rewriter.capture(model).sites[0].kind == "mlp"
