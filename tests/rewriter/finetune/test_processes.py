"""Several processes train one model: it learns what one process teaches it, and they fail and go on as one."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from rewriter.errors import UsageError
from rewriter.finetune.processes import join_processes, require_shares
from tests.rewriter.cli.conftest import Run
from tests.rewriter.finetune.rewritten import content, start, weights, write_folders

DATA = ("--data", "data/train.npz", "--test", "data/test.npz")
OPTIONS = (*DATA, "--lr", "0.01", "--augment", "crop,flip", "--batch-size", 32, "--penalty", 5)
STEPS = 20


def write_and_teach_one(parent: Path, name: str, method: str, run: Run) -> Path:
    """Write a rewritten model twice, fine-tune ``one`` in this process, and return the other folder."""
    other, one = write_folders(parent, name, "one", factory="block_classifier", method=method)
    outcome = run("finetune", one, *OPTIONS, "--steps", STEPS)
    assert outcome.code == 0, outcome.err
    return other


def require_same(folder: Path, other: Path) -> None:
    """Compare the weights, the losses and the anneal up to rounding, which AdamW enlarges where gradients are small."""
    ours, theirs = weights(folder), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4, msg=name)
    logs = [np.genfromtxt(where / "finetune.csv", delimiter=",", names=True) for where in (folder, other)]
    assert [len(log) for log in logs] == [STEPS, STEPS]
    for column in ("step", "loss", "lr", "anneal"):
        np.testing.assert_allclose(logs[0][column], logs[1][column], rtol=1e-3)


def test_two_processes_end_as_one_does_and_one_speaks(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    two = write_and_teach_one(tmp_path, "two", "swap", run)
    process = start(two, *OPTIONS, "--steps", STEPS, "--json", processes=2)
    out, err = process.communicate()
    assert process.returncode == 0, err
    record = json.loads(out)  # one object
    assert record["processes"] == 2
    assert "Warning" not in err
    assert len(re.findall("measuring again", err)) == 1
    assert set(content(two)) == {"model.safetensors", "recipe.json", "report.json", "finetune.csv", "finetune.png"}
    assert [path.name for path in tmp_path.glob(".*")] == []
    require_same(two, tmp_path / "one")
    alone = json.loads((tmp_path / "one" / "report.json").read_text())["finetunings"][0]
    for figures in ("original", "before", "after"):
        assert record[figures] == pytest.approx(alone[figures], rel=1e-3)


def test_a_sharded_training_whose_process_was_killed_goes_on_and_ends_as_one_does(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sharded = write_and_teach_one(tmp_path, "sharded", "sa", run)
    before, states = content(sharded), tmp_path / ".sharded-finetune"
    process = start(sharded, *OPTIONS, "--steps", STEPS, "--shard", "--save-minutes", "0", processes=2)
    while process.poll() is None and not any(states.glob("step-*[5-9]")):  # 5 steps or more
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]
    psutil.Process(process.pid).children()[-1].send_signal(signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode != 0
    assert "error:" not in err or err.count("error:") == 1
    assert content(sharded) == before

    process = start(sharded, *OPTIONS, "--steps", STEPS, "--shard", processes=2)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert [path.name for path in tmp_path.glob(".*")] == []
    require_same(sharded, tmp_path / "one")


def test_a_failure_of_one_process_ends_both_with_one_line_and_leaves_the_folder(tmp_path: Path) -> None:
    (folder,) = write_folders(tmp_path, "out")
    arrays = np.load(tmp_path / "data" / "train.npz")
    labels = arrays["y"].copy()
    labels[70] = 10  # in the share of one process alone
    np.savez(tmp_path / "wrong.npz", x=arrays["x"], y=labels)
    before = content(folder)
    options = ("--data", "wrong.npz", "--test", "data/test.npz", "--epochs", 1, "--save-minutes", 10)
    process = start(folder, *options, processes=2)
    out, err = process.communicate()
    assert process.returncode != 0
    assert re.search(r"exitcode\s*: 2\b", err)
    assert re.findall("^error: .*", err, re.MULTILINE) == [
        "error: expected labels from 0 to 9; found 0 to 10; use the data that the model was trained for"
    ]
    assert out == ""
    assert content(folder) == before
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("processes", "shard", "precision", "message"),
    [
        (3, False, "no", "a batch size that 3 processes can share evenly; found 64"),
        (1, True, "no", "several processes for --shard; found one"),
        (2, True, "fp16", "found fp16; give --precision bf16"),
    ],
)
def test_work_that_cannot_be_shared_is_refused(processes: int, shard: bool, precision: str, message: str) -> None:
    require_shares(2, 64, shard=True, precision="bf16")
    with pytest.raises(UsageError, match=message):
        require_shares(processes, 64, shard=shard, precision=precision)


def test_a_launcher_that_splits_the_model_in_its_own_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="found accelerate launch with --use_fsdp; launch without it and give --shard"):
        join_processes(None)
