from __future__ import annotations

import importlib.util
import linecache
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
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


class Guarded(Mlp):
    """Refuses to have modules added, which only shows when it happens."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        raise RuntimeError("closed")


class Frozen(Mlp):
    """Refuses another class."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__class__":
            raise TypeError("no other class")
        super().__setattr__(name, value)


def test_where_the_third_of_several_modules_fails_all_are_as_they_were() -> None:
    model, x = nn.Sequential(Mlp(classes=4), Mlp(classes=4), Guarded(classes=4), Mlp(classes=4)), torch.randn(3, 4)
    kinds, attributes = [type(module) for module in model], [dict(vars(module)) for module in model]
    modules, state = snapshot(model)
    values = model(x)
    with pytest.raises(RuntimeError, match="closed"):
        rewriter.rewrite(model, "hdfgd", inplace=True)
    assert [type(module) for module in model] == kinds
    assert [vars(module) for module in model] == attributes
    assert list(model.named_modules()) == modules
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(model(x), values)


@pytest.mark.parametrize("method", ["ga", "sa"])
def test_a_name_that_is_taken_meanwhile_is_refused(method: str) -> None:
    model = nn.Sequential(Mlp(classes=4), Mlp(classes=4), Mlp(classes=4))
    recipe = rewriter.plan(model, method)
    model[2].gelu = nn.Identity()
    modules, state = snapshot(model)
    with pytest.raises(rewriter.UsageError, match="found an attribute gelu of its own"):
        rewriter.apply(model, recipe, inplace=True)
    assert list(model.named_modules()) == modules
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert type(model[0]) is Mlp


def test_the_class_of_a_module_that_guards_its_attributes_is_changed_all_the_same() -> None:
    model = nn.Sequential(Frozen(classes=4), nn.Identity())
    assert isinstance(rewriter.rewrite(model, "sa", inplace=True).model[0], Frozen)


@pytest.mark.parametrize("field", ["method", "digest", "expression", "operand", "name", "turn"])
def test_a_recipe_with_another_place_in_the_code_is_refused_and_changes_nothing(field: str) -> None:
    model = body(Mlp())
    content = rewriter.plan(model, "sa").model_dump(mode="json")
    wrong = {"method": "hidden", "digest": 64 * "0", "name": "fc1", "turn": 1}
    content["sites"][0]["code"][field] = wrong.get(field, [1, 2, 1, 9])
    modules, state = snapshot(model)
    with pytest.raises(rewriter.UsageError):
        rewriter.apply(model, rewriter.Recipe.model_validate(content), inplace=True)
    assert list(model.named_modules()) == modules
    assert type(model[0]) is Mlp
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["", "a.b", "1", "a b", "__class__", "forward"])
@pytest.mark.parametrize("graph", [False, True])
def test_a_recipe_with_an_impossible_name_is_refused(name: str, graph: bool) -> None:
    model = fx.symbolic_trace(Mlp()) if graph else body(Mlp())
    content = rewriter.plan(model, "sa").model_dump(mode="json")
    content["sites"][0]["code"]["name"] = name
    modules, _ = snapshot(model)
    with pytest.raises((rewriter.UsageError, ValidationError)):
        rewriter.apply(model, rewriter.Recipe.model_validate(content), inplace=True)
    assert list(model.named_modules()) == modules


SOURCE = """
import torch.nn.functional as F
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))
"""
CHANGES = {
    "another factor": ("self.fc2(", "2 * self.fc2("),
    "another activation": ("F.gelu", "F.silu"),
    "another call ahead": ("return", "x = x.relu(); return"),
    "another name": ("def forward", "def again"),
}


def block(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    path = folder / "installed_block.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    linecache.checkcache()
    spec.loader.exec_module(module)
    return module.Block()  # type: ignore[no-any-return]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", ["ga", "sa"])
def test_a_recipe_for_another_version_of_the_code_is_refused_and_changes_nothing(
    change: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    recipe = rewriter.plan(body(block(SOURCE, tmp_path, monkeypatch)), method)
    model = body(block(SOURCE.replace(*CHANGES[change]), tmp_path, monkeypatch))
    kind, (modules, state) = type(model[0]), snapshot(model)
    with pytest.raises(rewriter.UsageError, match=r"the source of Block\.forward that the model was rewritten with"):
        rewriter.apply(model, recipe, inplace=True)
    assert type(model[0]) is kind
    assert list(model.named_modules()) == modules
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_recipe_for_code_that_only_moved_in_its_file_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    recipe = rewriter.plan(body(block(SOURCE, tmp_path, monkeypatch)), "swap", activation="mish")
    model = body(block("# A newer file.\n" * 3 + SOURCE, tmp_path, monkeypatch))
    x, first = torch.randn(3, 4), model[0]
    values = first.fc2(F.mish(first.fc1(x)))
    torch.testing.assert_close(rewriter.apply(model, recipe).model(x), values)
