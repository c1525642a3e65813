"""The demo goes the whole way."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest


def test_the_demo_says_accuracies_and_writes_what_it_names(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewriter.demo.flow.EPOCHS", 1)
    outcome = run("demo", "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    card = json.loads(files("rewriter.demo").joinpath("digits_vit.json").read_text())
    assert f"test accuracy {card['test_accuracy']:.2%}" in outcome.out
    assert "equal bit for bit" in outcome.out
    assert "DIFFER" not in outcome.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.safetensors", "recipe.json", "report.json", "model.onnx", "model.ts", "parity.json"}


def test_a_second_demo_takes_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rewriter.cli.demo import free_folder

    monkeypatch.chdir(tmp_path)
    assert free_folder() == Path("demo-out")
    (tmp_path / "demo-out").mkdir()
    assert free_folder() == Path("demo-out-2")
