"""Any recipe beside any weights restores the model or is refused in one line, and takes no more memory than it may."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rewriter

METHODS: dict[str, dict[str, Any]] = {"hdfgd": {}, "sa": {}, "ga": {}, "swap": {}, "eafo": {}}

fuzzed = settings(max_examples=60)


class Sites(nn.Module):
    """An MLP, a gated one with two layers, one with both factors packed, and convolutions with a norm between."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))
        self.gate, self.up, self.down = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 4)
        self.packed, self.out = nn.Linear(4, 16), nn.Linear(8, 4)
        self.convolutions = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        x = self.down(F.silu(self.gate(x)) * self.up(x))
        gate, up = self.packed(x).chunk(2, dim=-1)
        return self.out(F.gelu(gate) * up), self.convolutions(image)


@pytest.fixture(scope="module", params=METHODS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp(request.param) / "out"
    rewriter.save(rewriter.rewrite(Sites(), request.param, **METHODS[request.param]), folder)
    recipe = json.loads((folder / "recipe.json").read_text())
    return folder, {**recipe, "result": None, "misses": []}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


VALUES = st.sampled_from(
    [
        *(None, True, 0, 1, 2, -1, 7, 10**6, 2**31, 2**39, 2**40, 2**63, 10**30, 0.5, float("nan"), float("inf")),
        *("", "body.0", "body", "convolutions.1", "nowhere", "../x", "__class__", "a\nb", "\x1b[2J", "gelu/4", "ga"),
        *("x1*sigmoid(x2)", "exp(exp(exp(exp(x1))))", "x1**9**9**9**9", "__import__('os')", [], {}, [1, 2], ["x"]),
    ]
)


def changed(recipe: Any, path: tuple[Any, ...], how: str, value: Any) -> Any:
    made = copy.deepcopy(recipe)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    if how == "drop":
        del holder[path[-1]]
    elif how == "repeat" and isinstance(old, list):
        holder[path[-1]] = old + old[-1:]
    elif how == "scale" and type(old) is int:
        holder[path[-1]] = old * 1000
    else:
        holder[path[-1]] = value
    return made


def require_restored_or_refused(folder: Path, text: str) -> None:
    (folder / "recipe.json").write_text(text)
    before = sorted(folder.iterdir())
    try:
        restored = rewriter.restore(Sites(), folder)
    except rewriter.RewriterError as refused:
        assert refused.exit_code in (2, 4, 6)
        assert str(refused).isprintable()
    else:
        assert sum(p.numel() for p in restored.parameters()) == json.loads(text)["parameters_after"]
    assert sorted(folder.iterdir()) == before


@fuzzed
@given(data=st.data())
def test_a_changed_recipe_restores_or_is_refused(written: tuple[Path, Any], data: st.DataObject) -> None:
    folder, recipe = written
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(places(recipe))))
        how = data.draw(st.sampled_from(["put", "drop", "repeat", "scale"]))
        recipe = changed(recipe, path, how, data.draw(VALUES))
    require_restored_or_refused(folder, json.dumps(recipe))


@fuzzed
@given(
    st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)),
    st.sampled_from(["sites", "linears", "source", "result", "format", "x"]),
)
def test_any_json_restores_or_is_refused(written: tuple[Path, Any], value: Any, field: str) -> None:
    folder, recipe = written
    require_restored_or_refused(folder, json.dumps({**recipe, field: value}))
    (folder / "recipe.json").write_text(json.dumps(value))
    with pytest.raises(rewriter.UsageError):
        rewriter.restore(Sites(), folder)


@fuzzed
@given(st.binary(max_size=100))
def test_any_bytes_in_the_place_of_a_recipe_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.json").write_bytes(content)
    with pytest.raises(rewriter.UsageError) as refused:
        rewriter.restore(nn.Linear(1, 1), tmp_path)
    assert str(refused.value).isprintable()


def with_width(recipe: Any, width: int) -> Any:
    """Claim that the first MLP is far wider, everywhere where its width is written, so that the recipe is sound."""
    made = copy.deepcopy(recipe)
    (site,) = [site for site in made["sites"] if site["producer"] == "body.0"]
    added = 0
    for linear in made["linears"]:
        if linear["path"] in ("body.0", "body.2"):
            before = linear["after"][1] * (linear["after"][0] + 1)
            linear["after"][1 if linear["path"] == "body.0" else 0] = width
            added += linear["after"][1] * (linear["after"][0] + 1) - before
    site["parameters_after"] += added
    made["parameters_after"] += added
    made["options"]["width"] = "keep"
    return made


def test_a_recipe_that_claims_a_giant_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    rewriter.save(rewriter.rewrite(Sites(), "hdfgd"), folder)
    recipe = with_width({**json.loads((folder / "recipe.json").read_text()), "result": None}, 1 << 28)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(rewriter.CheckpointError, match="the weights of"):
        rewriter.restore(Sites(), folder)


def test_a_norm_wider_than_the_layers_around_it_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    rewriter.save(rewriter.rewrite(Sites(), "hdfgd"), folder)
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["channelwise"][0]["after"], recipe["channelwise"][0]["per_channel"] = 1 << 33, 0
    (folder / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(rewriter.UsageError, match="more channels than the layers around it"):
        rewriter.restore(Sites(), folder)
