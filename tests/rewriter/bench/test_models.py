"""Whole models side by side: the tables have timm's columns, and both models run as they should."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from rewriter.bench.deployment import exported, measure_latency, measure_starts
from rewriter.bench.first_run import Start, measure_start
from rewriter.bench.pair import Pair, rewritten_pair
from rewriter.bench.results import Bound, Results
from rewriter.bench.runners import available_runners, require_runner
from rewriter.bench.settings import Settings
from rewriter.bench.steps import placed_inputs, training_step
from rewriter.bench.whole_models import measure_models
from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec
from rewriter.sources.source import load_source

SOURCE = "py:rewriter.demo.model:digits_vit"
QUICK = Settings(batch_size=2, num_bench_iter=2, num_warm_iter=1, threads=1)


@pytest.fixture
def pair() -> Pair:
    return rewritten_pair(load_source(SOURCE), {"method": "hdfgd", "width": "paper"})


@pytest.mark.parametrize("kind", ["infer", "train"])
def test_both_models_get_a_row_with_the_columns_of_timm(pair: Pair, kind: Any) -> None:
    rounds: list[str] = []
    original, rewritten = measure_models(pair, kind, QUICK, rounds.append)
    columns = {"samples_per_sec", "step_time", "batch_size", "img_size"}
    assert {f"{kind}_{column}" for column in columns} | {"model", "param_count"} <= original.keys()
    assert [row["variant"] for row in (original, rewritten)] == ["original", "rewritten"]
    assert original[f"{kind}_ratio"] == 1.0
    assert 0 < float(str(rewritten[f"{kind}_gflops"])) < float(str(original[f"{kind}_gflops"]))
    assert float(str(rewritten["param_count"])) < float(str(original["param_count"]))
    assert rounds == ["eager"] * 3


def test_a_model_that_does_not_fit_is_measured_with_a_smaller_batch(pair: Pair) -> None:
    class Greedy(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Any:
            if len(images) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return self.model(images)

    inputs = tuple(spec.model_copy(update={"name": "images"}) for spec in pair.inputs)
    greedy = replace(pair, original=Greedy(pair.original), rewritten=Greedy(pair.rewritten), inputs=inputs)
    rows = measure_models(greedy, "infer", replace(QUICK, batch_size=6))
    assert [row["infer_batch_size"] for row in rows] == [2, 2]


def test_a_training_step_changes_the_weights(pair: Pair) -> None:
    before = {name: value.clone() for name, value in pair.rewritten.state_dict().items()}
    training_step(pair.rewritten, placed_inputs(pair.inputs, 2, QUICK), QUICK, "eager")()
    after = pair.rewritten.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_precision_of_the_settings_is_what_the_model_computes_in() -> None:
    half = placed_inputs(load_source(SOURCE).inputs, 1, replace(QUICK, precision="bfloat16"))
    assert {value.dtype for value in half.values()} == {torch.bfloat16}
    settings = replace(QUICK, precision="amp")
    with settings.autocast():
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.bfloat16
    with replace(settings, precision="float32").autocast():
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.float32


def test_images_are_laid_out_with_channels_last_if_asked_for() -> None:
    specs = (InputSpec(name="x", shape=(3, 8, 8)),)
    values = placed_inputs(specs, 2, replace(QUICK, channels_last=True))["x"]
    assert values.is_contiguous(memory_format=torch.channels_last)


def test_the_recipe_hash_tells_recipes_apart_and_is_the_same_for_the_same(pair: Pair) -> None:
    again = rewritten_pair(load_source(SOURCE), {"method": "hdfgd", "width": "paper"})
    other = rewritten_pair(load_source(SOURCE), {"method": "hdfgd", "width": "match"})
    assert pair.recipe_hash == again.recipe_hash != other.recipe_hash


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"precision": "float8"}, "precision"), ({"num_bench_iter": 0}, "num_bench_iter"), ({"batch_size": 0}, "batch")],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Settings(**settings)


def test_every_runner_is_timed_for_both_models_with_percentiles(pair: Pair) -> None:
    runners = ("eager", "torchscript", "onnx")
    with exported(pair, runners) as exports:
        rows = measure_latency(pair, exports, runners, replace(QUICK, threads=1))
    assert [(row["runner"], row["variant"]) for row in rows] == [
        (runner, variant) for runner in runners for variant in ("original", "rewritten")
    ]
    for row in rows:
        assert 0 < float(str(row["p50"])) <= float(str(row["p90"])) <= float(str(row["p99"]))
        assert row["error"] == ""
        assert row["width"] == "paper"


def test_a_model_that_no_exporter_takes_leaves_its_reason_and_the_other_rows(pair: Pair) -> None:
    class Undecided(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Any:
            return self.model(images) if float(images.sum()) > 0 else self.model(images + 1)

    inputs = tuple(spec.model_copy(update={"name": "images"}) for spec in pair.inputs)
    broken = replace(pair, inputs=inputs, original=Undecided(pair.original), rewritten=Undecided(pair.rewritten))
    with exported(broken, ("eager", "onnx")) as exports:
        rows = measure_latency(broken, exports, ("eager", "onnx"), QUICK)
    by_runner = {(row["runner"], row["variant"]): row for row in rows}
    assert by_runner["eager", "rewritten"]["p50"] is not None
    assert "p50" not in by_runner["onnx", "rewritten"]
    assert by_runner["onnx", "rewritten"]["error"]


def test_a_fresh_process_tells_its_first_call_and_its_memory(pair: Pair) -> None:
    with exported(pair, ("eager",)) as exports:
        rows = measure_starts(pair, exports, ("eager",), QUICK)
    for row in rows:
        assert row["error"] == ""
        assert float(str(row["first_call"])) > 0
        assert row["peak_memory"] is not None


def test_a_start_that_fails_tells_why(pair: Pair, tmp_path: Path) -> None:
    lost = Start(pair.spec, None, "onnx", tmp_path / "none.onnx", pair.inputs, QUICK)
    assert "none.onnx" in measure_start(lost).error


def test_runners_that_are_not_here_are_refused() -> None:
    assert {"eager", "compiled", "torchscript", "onnx"} <= set(available_runners())
    with pytest.raises(UsageError, match="runner"):
        require_runner("onxn")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(UsageError, match="CUDAExecutionProvider"):
            require_runner("onnx-cuda")


def test_results_are_written_as_json_csv_and_a_page_that_says_what_was_missed(tmp_path: Path) -> None:
    results = Results(
        "Title",
        "rewrite-model bench x",
        {"cores": "2"},
        {"Table": [{"a": 1, "b": 0.5}, {"a": 2, "c": None}]},
        (Bound("kept", 1.0, 0.9), Bound("broken", 1.0, 1.1)),
    )
    paths = results.write(tmp_path / "out", "name")
    assert [path.name for path in paths] == ["name.json", "name.csv", "name.md"]
    content = json.loads(paths[0].read_text())
    assert content["tables"]["Table"][0] == {"a": 1, "b": 0.5}
    assert [bound["held"] for bound in content["bounds"]] == [True, False]
    with paths[1].open() as opened:
        assert list(csv.DictReader(opened))[1] == {"table": "Table", "a": "2", "b": "", "c": ""}
    page = paths[2].read_text()
    assert "| broken | 1 | 1.100 | missed |" in page
    assert "| kept | 1 | 0.900 | held |" in page
    assert "- cores: 2" in page
    assert "rewrite-model bench x" in page
