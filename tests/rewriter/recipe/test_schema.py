from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rewriter
from rewriter.recipe import Recipe
from rewriter.recipe.schema import FORMATS


def model(device: str = "cpu") -> nn.Module:
    with torch.device(device):
        return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 2))


METHODS = {"ga": {"alpha": 2.0}, "hdfgd": {"terms": 2}, "sa": {"exclude": ["3"]}, "swap": {}}


@pytest.mark.parametrize("method", METHODS)
def test_two_plans_are_equal(method: str) -> None:
    first, second = (rewriter.plan(model(), method, **METHODS[method]).model_dump_json() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_survives_json(method: str) -> None:
    recipe = rewriter.plan(model(), method, **METHODS[method])
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("method", METHODS)
def test_a_model_on_the_meta_device_gives_the_same_recipe(method: str) -> None:
    assert rewriter.plan(model("meta"), method) == rewriter.plan(model(), method)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_does_not_change_the_recipe(training: bool) -> None:
    assert rewriter.plan(model().train(training), "sa") == rewriter.plan(model(), "sa")


def test_the_same_seed_gives_the_same_weights_whatever_the_global_random_state() -> None:
    original = model()
    torch.manual_seed(1)
    first = rewriter.rewrite(original, "sa", seed=3).model.state_dict()
    torch.manual_seed(2)
    second = rewriter.rewrite(original, "sa", seed=3).model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_rewriting_does_not_advance_the_global_random_state() -> None:
    original = model()
    before = torch.get_rng_state()
    rewriter.rewrite(original, "sa")
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_weights_and_the_same_structure() -> None:
    original = model()
    first, second = (rewriter.rewrite(original, "hdfgd", seed=seed) for seed in (0, 1))
    assert first.recipe.sites == second.recipe.sites
    assert first.recipe.linears == second.recipe.linears
    assert not torch.equal(first.model[0].weight, second.model[0].weight)


def test_linears_of_the_same_shape_get_different_weights() -> None:
    blocks = nn.Sequential(*[nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)) for _ in range(2)])
    first, second = rewriter.rewrite(blocks, "hdfgd").model
    assert not torch.equal(first[0].weight, second[0].weight)


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(rewriter.plan(model(), "ga").model_dump_json()), **fields})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (changed(surprise=1), "surprise: Extra inputs are not permitted"),
        (changed(format="network-rewriter/recipe/99"), "recipe/99'; update network-rewriter: a later version"),
        (changed(format="network-rewriter/recipe/0"), "recipe/0'; run `rewrite-model apply` again: an earlier version"),
        (changed(format=["onnx"]), r"format: \"\['onnx'\]\"; name a folder"),
        (changed()[:-1] + ', "seed": 1}', "the file: the key 'seed' twice"),
        (changed(sites=[{"path": "1"}]), r"sites\.0\."),
        ("{", "the file: Expecting property name"),
        ("[]", "the file: JSON that is no object"),
    ],
)
def test_a_file_that_does_not_follow_the_schema_is_refused_in_one_line(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(rewriter.UsageError, match=found) as refusal:
        Recipe.read(path)
    assert FORMATS[-1] in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rewriter.UsageError, match="No such file"):
        Recipe.read(tmp_path / "recipe.json")
