"""Layers inside a LoRA adapter keep their shape, for a reason that says to merge; their activations can be changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter


class LoraLinear(nn.Module):
    """A linear with low-rank additions by name, in the structure of peft's ``lora.Linear``."""

    def __init__(self, base_layer: nn.Linear, *, merged: bool = False) -> None:
        super().__init__()
        self.base_layer, self.merged = base_layer, merged
        self.scaling, self.active_adapters = {"default": 2.0}, ["default"]
        self.lora_dropout = nn.ModuleDict({"default": nn.Identity()})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base_layer.in_features, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, base_layer.out_features, bias=False)})

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = self.base_layer(x, *args, **kwargs)
        if self.merged:
            return result
        for name in self.active_adapters:
            if name in self.lora_A:
                x = x.to(self.lora_A[name].weight.dtype)
                added = self.lora_B[name](self.lora_A[name](self.lora_dropout[name](x)))
                result = result + added * self.scaling[name]
        return result

    def merge_and_unload(self) -> nn.Linear:
        with torch.no_grad():
            added = self.lora_B["default"].weight @ self.lora_A["default"].weight
            self.base_layer.weight += added * self.scaling["default"]
        return self.base_layer


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.drop, self.fc2 = nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.0), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(self.act(self.fc1(x))))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.act, self.down = nn.Linear(4, 8), nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.gate(x)) * self.up(x))


def with_lora(mlp: nn.Module, *layers: str, merged: bool = False) -> nn.Sequential:
    for name in layers:
        setattr(mlp, name, LoraLinear(mlp.get_submodule(name), merged=merged))
    return nn.Sequential(mlp, nn.Linear(4, 4))


@pytest.mark.parametrize("layers", [("fc1",), ("fc2",), ("fc1", "fc2")])
@pytest.mark.parametrize("merged", [False, True])
def test_a_layer_in_an_adapter_keeps_its_shape_and_the_reason_says_to_merge(
    layers: tuple[str, ...], merged: bool
) -> None:
    model = with_lora(Mlp(), *layers, merged=merged)
    (site,) = rewriter.capture(model).sites
    reason = f"0.{layers[0]} is an adapter (LoraLinear): merge it into its layer first, with merge_and_unload()"
    assert site.not_an_mlp == reason
    with pytest.raises(rewriter.NoSiteError, match=r"merge_and_unload\(\)"):
        rewriter.plan(model, "hdfgd")


@pytest.mark.parametrize("layer", ["gate", "up", "down"])
def test_a_gated_mlp_with_an_adapter_is_a_miss_that_says_to_merge(layer: str) -> None:
    captured = rewriter.capture(with_lora(Gated(), layer))
    assert captured.sites == ()
    assert f"0.{layer} is an adapter (LoraLinear): merge it" in captured.misses[0].reason


@pytest.mark.parametrize("layers", [("fc1",), ("fc2",), ("fc1", "fc2")])
def test_the_activation_between_adapted_layers_can_be_changed_alone(layers: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model, x = with_lora(Mlp(), *layers), torch.randn(5, 4)
    result = rewriter.rewrite(model, "swap", activation="mish")
    model[0].act = nn.Mish()
    torch.testing.assert_close(result.model(x), model(x))
    assert result.model.state_dict().keys() == model.state_dict().keys()


def test_a_merged_and_unloaded_model_is_rewritten_whole() -> None:
    model = with_lora(Mlp(), "fc1", "fc2")
    for name in ("fc1", "fc2"):
        setattr(model[0], name, model[0].get_submodule(name).merge_and_unload())
    (site,) = rewriter.rewrite(model, "hdfgd").recipe.sites
    assert site.kind == "mlp"


class Body(nn.Module):
    """A model whose first layers happen to have the name under which adapters keep theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer, self.act, self.fc = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.base_layer(x)))


def test_the_name_alone_makes_no_adapter() -> None:
    (site,) = rewriter.capture(Body()).sites
    assert site.kind == "mlp"
