"""A fine-tuning that is killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from rewriter.storage.replacing import finish_replacing, replace_folder
from tests.rewriter.cli.conftest import Run
from tests.rewriter.finetune.rewritten import content, start, weights, write_folders

STEPS = 200


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_rerun_after_sigkill_ends_bit_for_bit_as_an_uninterrupted_run(
    optimizer: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, whole = write_folders(tmp_path, "killed", "whole", factory="dropping_classifier")
    monkeypatch.chdir(tmp_path)
    options = ["--data", "data/train.npz", "--test", "data/test.npz", "--steps", STEPS, "--optimizer", optimizer]
    options += ["--augment", "crop,flip", "--lr", "0.01"]
    before = content(killed)

    process = start(killed, *options, "--save-minutes", "0")
    states = tmp_path / ".killed-finetune"
    while process.poll() is None and not any(states.glob("step-*[2-9]?")):  # 20 steps or more
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL  # it had not finished
    assert content(killed) == before

    outcome = run("finetune", killed, *options)
    assert outcome.code == 0, outcome.err
    assert run("finetune", whole, *options).code == 0
    assert not states.exists()
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(killed).items())
    logs = [(folder / "finetune.csv").read_text().splitlines() for folder in (killed, whole)]
    losses = [[row.split(",")[2] for row in log] for log in logs]
    assert losses[0] == losses[1]
    assert len(losses[0]) == STEPS + 1


def test_an_unfinished_run_does_not_go_on_with_other_options(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = write_folders(tmp_path, "out")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rewriter.cli.finetune.write_result", _fail)
    options = ["--data", "data/train.npz", "--steps", 3, "--save-minutes", "0"]
    assert run("finetune", folder, *options).code == 1
    assert len(list((tmp_path / ".out-finetune").iterdir())) == 1  # the newest state alone
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    outcome = run("finetune", folder, *options, "--lr", "0.001")
    assert outcome.code == 2
    assert re.search(r"with lr = 0\.0005; found lr = 0\.001", outcome.err)
    assert run("finetune", folder, *options).code == 0


def test_a_damaged_state_is_refused(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = write_folders(tmp_path, "out")
    monkeypatch.chdir(tmp_path)
    options = ["--data", "data/train.npz", "--steps", 3, "--save-minutes", "0"]
    with monkeypatch.context() as failing:
        failing.setattr("rewriter.cli.finetune.write_result", _fail)
        assert run("finetune", folder, *options).code == 1
    state = next((tmp_path / ".out-finetune").iterdir())
    for name in ("model.safetensors", "position.json"):
        (state / name).write_bytes(b"{")
        outcome = run("finetune", folder, *options)
        assert outcome.code == 2
        assert "to begin again" in outcome.err


def test_a_replacement_killed_half_way_is_undone_by_the_next_run(tmp_path: Path) -> None:
    directory, new = tmp_path / "out", tmp_path / ".out-finetuned"
    for folder in (directory, new):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    os.rename(directory, tmp_path / ".out-replaced")
    finish_replacing(directory)
    assert (directory / "name").read_text() == "out"
    replace_folder(directory, new)
    finish_replacing(directory)
    assert (directory / "name").read_text() == ".out-finetuned"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _fail(*arguments: object) -> None:
    raise RuntimeError("the disk is full")
