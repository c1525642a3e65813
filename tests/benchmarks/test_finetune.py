from __future__ import annotations

import json
from pathlib import Path

from benchmarks.finetune import write
from benchmarks.finetune_table import markdown

ROW = {
    "model": "resnet56",
    "method": "ga lifted=false",
    "original": 0.94,
    "before": 0.105,
    "after": 0.9337,
    "steps": 120,
    "seconds": 600.1,
    "images_per_second": 25.6,
    "options": "--max-minutes 10",
    "environment": {"cores": "2", "threads": "1"},
}


def test_the_table_says_how_far_each_model_is_from_the_original_and_how_it_was_trained() -> None:
    text = markdown([ROW, {**ROW, "after": 0.941}])
    assert "| resnet56 | ga lifted=false | 94.00% | 10.50% | 93.37% | -0.63 points | 120 | 600.1 | 1 | 25.6 |" in text
    assert "+0.10 points" in text
    assert "- resnet56 ga lifted=false: `--max-minutes 10`; cores 2, threads 1" in text


def test_results_of_another_method_are_kept_and_those_of_the_same_replaced(tmp_path: Path) -> None:
    write(tmp_path, [ROW, {**ROW, "method": "swap"}])
    write(tmp_path, [{**ROW, "after": 0.5}])
    rows = json.loads((tmp_path / "finetune.json").read_text())
    assert [(row["method"], row["after"]) for row in rows] == [("ga lifted=false", 0.5), ("swap", 0.9337)]
    assert (tmp_path / "finetune.md").read_text() == markdown(rows)
