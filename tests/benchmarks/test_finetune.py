from __future__ import annotations

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
}


def test_the_table_says_how_far_each_model_is_from_the_original_and_how_it_was_trained() -> None:
    text = markdown([ROW, {**ROW, "after": 0.941}], {"cores": "2"})
    assert "| resnet56 | ga lifted=false | 94.00% | 10.50% | 93.37% | -0.63 points | 120 | 600.1 | 25.6 |" in text
    assert "+0.10 points" in text
    assert text.count("--max-minutes 10") == 1
    assert "- cores: 2" in text
