"""Recipes of format 1, which count the calls of a module's code, and name new modules by the number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, fx, nn

import rewriter
from rewriter.recipe import Recipe
from rewriter.surgery.placed import placed_function


class Block(nn.Module):
    """Calls a function in a method, a tensor's method, an attribute and, in a loop, a formula."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.act, self.gelu_1 = F.silu, "taken"

    def hidden(self, x: Tensor) -> Tensor:
        return F.gelu(self.layers[0](x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[1](self.hidden(x)).relu()
        x = self.act(self.layers[2](x))
        for layer in self.layers[3:5]:
            h = layer(x)
            x = h * torch.sigmoid(h)
        return self.layers[5](x)


class Reordered(Block):
    """The same parameters, but another activation comes first."""

    def hidden(self, x: Tensor) -> Tensor:
        return F.relu(self.layers[0](x))


class Shorter(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](self.hidden(x))


ACTIVATIONS = [("gelu", 1), ("relu", 3), ("silu", 5), ("silu", 8), ("silu", 11)]


def model(kind: type[Block] = Block) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(kind(), nn.Tanh(), nn.Linear(4, 2))


def site(number: int, activation: str, call: int, owner: str, module: str | None) -> dict[str, Any]:
    trained = number % 2 == 0
    path = module or f"{owner or '(model)'}:{call}"
    settings = {"name": "relu", "parameters": {}, "alpha": 1.0, "lifted": False, "clamp": 4.0}
    return {
        "path": path,
        "kind": "mlp",
        "activation": activation,
        "owner": owner,
        "call": call,
        "module": module,
        "producer": f"0.layers.{number}",
        "consumer": None,
        "partner": None,
        "channels_dim": -1,
        "depth": 2 * number,
        "rank": 5 - number,
        "placement": {
            "function": "g[relu]" if trained else "relu",
            "branches": 1,
            "settings": {**settings, "adversarial": trained, "trainable": trained},
        },
        "hidden": None,
        "chain": path,
        "parameters_before": 0,
        "parameters_after": int(trained),
    }


def written(owner: str = "0") -> str:
    """Give a recipe of ``ga`` with ``activation="relu"`` and ``trainable=True``."""
    sites = [site(number, *activation, owner, None) for number, activation in enumerate(ACTIVATIONS)]
    content = {
        "format": "network-rewriter/recipe/1",
        "method": "ga",
        "options": {"width": "match", "init": "random", "activation": "relu", "trainable": True},
        "seed": 0,
        "sites": [*sites, site(5, "tanh", 1 if owner else 13, "", "1")],
        "linears": [],
        "channelwise": [],
        "experts": [],
        "misses": [],
        "parameters_before": 130,
        "parameters_after": 133,
        "source": None,
        "result": None,
    }
    return json.dumps(content)


def recipe(owner: str = "0") -> Recipe:
    return Recipe.model_validate_json(written(owner))


def expected(original: nn.Sequential, functions: list[nn.Module], x: Tensor) -> Tensor:
    for layer, function in zip(original[0].layers, functions, strict=True):
        x = function(layer(x))
    return original[2](x)


def test_it_is_read_and_stays_of_its_format(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(written())
    read = Recipe.read(tmp_path / "recipe.json")
    assert read.format == "network-rewriter/recipe/1"
    assert read == recipe()


def test_it_is_applied_with_the_names_that_it_always_gave() -> None:
    original = model()
    result = rewriter.apply(original, recipe())
    added = result.model.state_dict().keys() - original.state_dict().keys()
    assert added == {"0.gelu_1_.log_offset", "0.silu_5.log_offset", "0.silu_11.log_offset"}
    block = result.model[0]
    functions = [block.gelu_1_, block.relu_3, block.silu_5, block.silu_8, block.silu_11, result.model[1]]
    assert [placed_function(result.model, site) for site in result.recipe.sites] == functions
    x = torch.randn(5, 4)
    torch.testing.assert_close(result.model(x), expected(original, functions, x))
    assert block.gelu_1 == "taken"
    assert block.act is F.silu


def test_weights_saved_with_it_are_restored(tmp_path: Path) -> None:
    result, x = rewriter.apply(model(), recipe()), torch.randn(5, 4)
    with torch.no_grad():
        for parameter in result.model.parameters():
            parameter.add_(torch.rand_like(parameter))
    save_file(result.model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "recipe.json").write_text(written())
    fresh = model()
    assert torch.equal(rewriter.restore(fresh, tmp_path)(x), result.model(x))
    rewriter.save(result, tmp_path / "again")
    assert torch.equal(rewriter.restore(model(), tmp_path / "again")(x), result.model(x))


def test_it_is_applied_to_the_graph_that_it_was_made_for() -> None:
    original, x = model(), torch.randn(5, 4)
    graph_module = fx.symbolic_trace(original)
    result = rewriter.apply(graph_module, recipe(owner=""))
    block = result.model
    added = block.state_dict().keys() - graph_module.state_dict().keys()
    assert added == {"gelu_1.log_offset", "silu_5.log_offset", "silu_11.log_offset"}
    functions = [block.gelu_1, block.relu_3, block.silu_5, block.silu_8, block.silu_11, block.get_submodule("1")]
    torch.testing.assert_close(block(x), expected(original, functions, x))


@pytest.mark.parametrize("kind", [Reordered, Shorter])
def test_other_code_is_refused_and_stays_as_it_is(kind: type[Block]) -> None:
    original, x = model(kind), torch.randn(5, 4)
    modules, values = list(original.modules()), original(x)
    with pytest.raises(rewriter.UsageError, match="the code that the recipe was made for in 0; found no "):
        rewriter.apply(original, recipe(), inplace=True)
    assert list(original.modules()) == modules
    assert type(original[0]) is kind
    assert torch.equal(original(x), values)


def test_a_loop_of_which_it_knows_some_turns_is_refused() -> None:
    content = json.loads(written())
    del content["sites"][3]
    with pytest.raises(rewriter.UsageError, match="a loop of which only some turns have a function silu_11"):
        rewriter.apply(model(), Recipe.model_validate(content))
