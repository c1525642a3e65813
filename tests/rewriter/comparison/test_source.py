"""The changed lines of source, against what runs in the rewritten model."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter
from rewriter.comparison import Difference, Original, compare
from rewriter.errors import UsageError
from rewriter.recipe import Recipe


def decorated(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(method)
    def wrapper(*arguments: Any) -> Tensor:
        return method(*arguments)

    return wrapper


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Two layers and what is between them."""
        h = self.fc1(x)
        h = F.gelu(
            h,  # the hidden values
        )
        return x + self.fc2(h)


class Derived(Block):
    """Has the method of its base."""


class TwoMethods(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.second(torch.tanh(self.fc1(x))))

    @decorated
    def second(self, x: Tensor) -> Tensor:
        return self.fc2(x).relu()


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)]), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.head(x)


class Attribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(4, 16), nn.Linear(16, 4), F.gelu

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


def rewritten(model: nn.Module, method: str = "ga", **options: Any) -> tuple[nn.Module, Recipe]:
    result = rewriter.rewrite(model, method, **options)
    return result.model, result.recipe


def difference(model: nn.Module, after: nn.Module, recipe: Recipe) -> Difference:
    return compare(Original(model, "unrecorded"), after, recipe)


def code(module: nn.Module) -> str:
    return inspect.getsource(type(module).forward)


def line_of(kind: type, text: str) -> int:
    lines, first = inspect.getsourcelines(kind)
    return first + next(number for number, line in enumerate(lines) if text in line)


def test_the_lines_are_those_that_run_and_have_the_numbers_of_the_file() -> None:
    model = nn.Sequential(Block())
    after, recipe = rewritten(model)
    (change,) = difference(model, after, recipe).source
    assert (change.class_name, change.module, change.method) == ("Block", Block.__module__, "forward")
    assert change.first_line == line_of(Block, "def forward")
    assert change.paths == ("0",)
    assert change.removed == ("        h = F.gelu(", "            h,  # the hidden values")
    assert "\n".join(change.removed) in code(model[0])
    assert "\n".join(change.added) in code(after[0])
    assert "self.gelu(" in change.added[0]
    start = line_of(Block, "h = self.fc1")
    assert change.diff == (
        f"@@ -{start},4 +{start},4 @@",
        "         h = self.fc1(x)",
        *(f"-{line}" for line in change.removed),
        *(f"+{line}" for line in change.added),
        "         )",
    )


def test_what_many_modules_share_is_shown_once() -> None:
    model = nn.Sequential(Block(), Derived(), nn.Sequential(Block(), Block()))
    after, recipe = rewritten(model, exclude=["2.0:*"])
    (change,) = difference(model, after, recipe).source
    assert change.paths == ("0", "1", "2.1")


def test_methods_of_one_class_and_several_edits_of_one_method_are_told_apart() -> None:
    model = nn.Sequential(TwoMethods(), TwoMethods())
    after, recipe = rewritten(model, "swap", exclude=["1:relu"])
    forward, second = sorted(difference(model, after, recipe).source, key=lambda change: change.method)
    assert (forward.method, forward.paths) == ("forward", ("0", "1"))
    assert forward.added == ("        return self.fc3(self.second(self.tanh(self.fc1(x))))",)
    assert (second.method, second.paths) == ("second", ("0",))
    assert second.added == ("        return self.relu(self.fc2(x))",)
    assert second.first_line == line_of(TwoMethods, "@decorated")


def test_turns_of_a_loop_are_shown_as_they_run() -> None:
    model = Loop()
    after, recipe = rewritten(model)
    (change,) = difference(model, after, recipe).source
    assert change.paths == ("",)
    for line in change.added:
        assert line in code(after)
    assert any("next(" in line for line in change.added)


def test_a_model_of_modules_and_attributes_has_no_changed_source() -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4), Attribute())
    after, recipe = rewritten(model)
    found = difference(model, after, recipe)
    assert len(found.sites) == 2
    assert found.source == ()


def test_the_original_needs_no_weights() -> None:
    model = nn.Sequential(Block())
    after, recipe = rewritten(model, "sa")
    expected = difference(model, after, recipe).source
    found = compare(Original(copy.deepcopy(model).to("meta"), "none"), after, recipe, torch.zeros(2, 4))
    assert found.error is None
    assert found.source == expected != ()


def test_a_recipe_of_format_1_names_no_places_and_shows_the_same_lines() -> None:
    model = nn.Sequential(Block(), Block())
    recipe = rewriter.plan(model, "ga")
    sites = tuple(site.model_copy(update={"code": None}) for site in recipe.sites)
    older = recipe.model_copy(update={"format": "network-rewriter/recipe/1", "sites": sites})
    after = rewriter.apply(model, older).model
    (change,) = difference(model, after, older).source
    assert change.paths == ("0", "1")
    assert change.removed == ("        h = F.gelu(", "            h,  # the hidden values")
    assert "\n".join(change.added) in code(after[0])


def test_a_graph_shows_its_nodes() -> None:
    model, after = (fx.symbolic_trace(Block()) for _ in range(2))
    recipe = rewriter.plan(after, "ga")
    rewriter.apply(after, recipe, inplace=True)
    (change,) = difference(model, after, recipe).source
    assert (change.class_name, change.module, change.method, change.first_line) == ("Block", None, "forward", None)
    assert change.paths == ("",)
    assert any("call_function[target=torch._C._nn.gelu]" in line for line in change.removed)
    assert any("call_module[target=gelu]" in line for line in change.added)
    assert {*change.removed} <= {*str(model.graph).splitlines()}
    assert {*change.added} <= {*str(after.graph).splitlines()}


def test_other_code_than_the_recipes_is_refused() -> None:
    after, recipe = rewritten(nn.Sequential(Block()))
    with pytest.raises(UsageError, match=r"no source that could be edited|another source"):
        difference(nn.Sequential(Loop()), after, recipe)


def test_new_tensors_belong_to_the_site_whose_function_has_them() -> None:
    model = nn.Sequential(TwoMethods())
    after, recipe = rewritten(model, "swap")
    for site in difference(model, after, recipe).sites:
        assert [change.name for change in site.tensors] == [f"0.{site.before}.epsilon"]
