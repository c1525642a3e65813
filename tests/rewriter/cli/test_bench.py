"""``rewrite-model bench`` measures what a folder or a source names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIGITS = "py:rewriter.demo.model:digits_vit"
QUICK = ("--num-bench-iter", "1", "--num-warm-iter", "1", "-b", "2", "--threads", "1")


def test_a_source_is_rewritten_and_measured(run: Any, tmp_path: Path) -> None:
    outcome = run("bench", DIGITS, "--method", "hdfgd", "--width", "paper", *QUICK, "--json", "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    rows = json.loads(outcome.out)["tables"]["Inference"]
    assert [row["variant"] for row in rows] == ["original", "rewritten"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bench.json", "bench.csv", "bench.md"}


def test_a_rewritten_folder_is_compared_with_its_original(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("apply", DIGITS, "--method", "hdfgd", "--width", "paper", "-o", out).code == 0
    outcome = run("bench", out, "--bench", "train", *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    original, rewritten = json.loads(outcome.out)["tables"]["Training"]
    assert rewritten["param_count"] < original["param_count"]
    assert original["train_batch_size"] == 2


def test_the_models_of_a_list_are_measured_one_after_the_other(run: Any, tmp_path: Path) -> None:
    listing = tmp_path / "models.txt"
    listing.write_text(f"{DIGITS}\n\n{DIGITS}\n")
    outcome = run("bench", "--model-list", listing, "--method", "hdfgd", *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    assert len(json.loads(outcome.out)["tables"]["Inference"]) == 4


def test_nothing_to_measure_a_wrong_benchmark_and_wrong_threads_are_errors_of_use(run: Any) -> None:
    assert run("bench").code == 2
    assert run("bench", DIGITS, "--bench", "inferr").code == 2
    assert run("bench", DIGITS, "--threads", "one").code == 2
    assert run("bench", DIGITS, "--threads", "1,2").code == 2
    assert run("bench", "--model-list", "nowhere.txt").code == 2
