from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter


class Mlp(nn.Module):
    def __init__(self, width: int = 16, classes: int = 2) -> None:
        super().__init__()
        self.fc1, self.fc2, self.head = nn.Linear(4, width), nn.Linear(width, 4), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc2(F.gelu(self.fc1(x))))


class OtherCode(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


class OtherFunction(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc2(F.silu(self.fc1(x))))


class Modules(Mlp):
    def __init__(self, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc2(self.act(self.fc1(x))))


def body(mlp: nn.Module) -> nn.Sequential:
    return nn.Sequential(mlp, nn.Identity())


def snapshot(model: nn.Module) -> tuple[list[Any], dict[str, Tensor]]:
    return list(model.named_modules()), {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("planned_for", "applied_to"),
    [
        (Mlp(), Mlp(width=32)),
        (Mlp(), Mlp(classes=7)),
        (Mlp(), OtherCode()),
        (Mlp(), OtherFunction()),
        (Modules(), Mlp()),
        (Modules(), Modules(nn.SiLU)),
    ],
    ids=["width", "head", "code", "function", "no such module", "other module"],
)
@pytest.mark.parametrize("method", ["ga", "sa"])
def test_a_recipe_for_another_model_is_refused_and_changes_nothing(
    planned_for: nn.Module, applied_to: nn.Module, method: str
) -> None:
    recipe = rewriter.plan(body(planned_for), method)
    model = body(applied_to)
    modules, state = snapshot(model)
    with pytest.raises(rewriter.UsageError, match="apply the recipe to the model it was made for"):
        rewriter.apply(model, recipe, inplace=True)
    assert list(model.named_modules()) == modules
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_recipe_for_another_graph_is_refused_and_leaves_the_graph_alone() -> None:
    recipe = rewriter.plan(fx.symbolic_trace(Mlp()), "ga")
    graph_module = fx.symbolic_trace(OtherCode())
    graph_module.fc1, graph_module.fc2 = nn.Linear(4, 16), nn.Linear(16, 4)
    code = graph_module.code
    with pytest.raises(rewriter.UsageError, match="apply the recipe to the model it was made for"):
        rewriter.apply(graph_module, recipe, inplace=True)
    assert graph_module.code == code


def test_a_model_that_cannot_be_copied_is_refused_with_what_to_do() -> None:
    model = body(Modules())
    model.lock = torch.ones(2, requires_grad=True) * 2
    with pytest.raises(rewriter.UsageError, match="inplace=True"):
        rewriter.rewrite(model, "sa")
    assert rewriter.rewrite(model, "sa", inplace=True).model is model
