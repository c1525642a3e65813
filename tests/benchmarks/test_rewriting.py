"""The benchmark of the rewrite itself, and those of whole models: what they measure and what they hold it to."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import rewriter
from benchmarks import deploy, rewriting, train
from benchmarks.rewrite_times import apply_peak, initialise, largest_site, measure_rewrite
from rewriter.bench.results import Row

SMALL = "timm:vit_tiny_patch16_224?depth=2&embed_dim=64&num_heads=2&img_size=32"


def test_a_rewrite_is_timed_beside_the_initialisation_of_as_many_weights() -> None:
    row = measure_rewrite(SMALL, "hdfgd", 1)
    assert row["sites"] == 2
    assert float(str(row["nodes"])) > 0
    assert {"plan_s", "apply_s", "init_s", "apply_to_init", "peak_to_site"} <= row.keys()


def test_torch_initialises_exactly_the_new_weights_of_the_linears() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
    recipe = rewriter.plan(model, "hdfgd")
    made = sum(value.numel() for linear in initialise(recipe) for value in linear.parameters())
    assert made == sum(record.parameters_after for record in recipe.linears) == largest_site(recipe)


def test_apply_in_place_never_holds_much_more_than_one_site_above_the_model() -> None:
    def make() -> nn.Module:
        mlps = [nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512)) for _ in range(8)]
        return nn.Sequential(*mlps)

    recipe = rewriter.plan(make(), "hdfgd")
    peak, size = apply_peak(make, recipe)
    assert size == 4
    assert peak <= 1.5 * size * largest_site(recipe)


def test_the_profile_names_functions_and_their_times() -> None:
    rows = rewriting.profile(SMALL, "hdfgd", rows=5)
    assert len(rows) == 5
    own = [float(str(row["own_s"])) for row in rows]
    assert own == sorted(own, reverse=True)


def test_the_rewrite_is_held_to_time_memory_and_linear_growth() -> None:
    sizes: list[Row] = [{"model": "m", "apply_to_init": 1.6, "peak_to_site": 1.4}]
    found = rewriting.bounds(sizes, [{"what": "plan", "exponent": 1.3}])
    assert [(bound.limit, bound.held) for bound in found] == [(1.5, False), (1.5, True), (1.1, False)]


def test_exponents_are_fitted_over_the_nodes() -> None:
    rows: list[Row] = [{"nodes": n, "plan_s": 0.1 * n, "apply_s": 0.1 * n**2} for n in (10, 20, 40)]
    assert rewriting.fitted(rows) == [{"what": "plan", "exponent": 1.0}, {"what": "apply", "exponent": 2.0}]


def row(**values: Any) -> Row:
    return {"model": "timm:vit", "variant": "rewritten", "mode": "eager", "threads": 1, **values}


def test_training_steps_are_held_to_four_fifths_of_the_original() -> None:
    rows = [row(train_ratio=0.7), row(train_ratio=1.0, variant="original"), row(train_ratio=0.9, mode="compiled")]
    assert [(bound.limit, bound.found) for bound in train.bounds(rows)] == [(0.80, 0.7)]


@pytest.mark.parametrize(
    ("model", "width", "limit"),
    [
        ("timm:vit", "paper", 0.80),
        ("hf:minilm", "paper", 0.85),
        ("hf:minilm", "match", 1.05),
        ("timm:vit", "match", 1.05),
    ],
)
def test_latency_in_onnx_runtime_is_held_to_the_limit_of_its_width(model: str, width: str, limit: float) -> None:
    rows = [row(model=model, width=width, runner=runner, ratio=0.9) for runner in ("onnx", "torchscript")]
    (bound,) = deploy.bounds(rows)
    assert bound.limit == limit
