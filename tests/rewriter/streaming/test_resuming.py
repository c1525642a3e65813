"""A stream that was killed is gone on with."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import rewriter
from rewriter.errors import UsageError
from rewriter.recipe import Recipe
from rewriter.streaming import stream
from rewriter.streaming.partial import partial_of

SHARD = 9_000  # bytes


class Blocks(nn.Module):
    """A few MLPs, so that a result has several shards."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16), nn.LayerNorm(16)) for _ in range(4))
        )
        self.head = nn.Linear(16, 200)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    (tmp_path / "in").mkdir()
    save_file(Blocks().state_dict(), tmp_path / "in" / "model.safetensors")
    return tmp_path / "in"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return rewriter.plan(Blocks(), "hdfgd")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def streamed(recipe: Recipe, checkpoint: Path, output: Path) -> dict[str, bytes]:
    stream(Blocks(), recipe, checkpoint, output, shard_size=SHARD)
    assert not output.with_name(f".{output.name}.partial").exists()
    return contents(output)


def killed(recipe: Recipe, checkpoint: Path, output: Path, after: int, workers: int = 1) -> None:
    """Stream in a process that gets SIGKILL when it reports progress for the ``after``-th time."""
    calls = 0

    def progress(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        torch.set_num_threads(1)
        stream(Blocks(), recipe, checkpoint, output, shard_size=SHARD, workers=workers, progress=progress)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("after", [1, 2, 5, 9, 14, 20, 30])
def test_second_run_after_a_kill_gives_the_same_bytes(
    tmp_path: Path, checkpoint: Path, recipe: Recipe, after: int
) -> None:
    expected = streamed(recipe, checkpoint, tmp_path / "whole")
    killed(recipe, checkpoint, tmp_path / "out", after)
    assert not (tmp_path / "out").exists()
    assert streamed(recipe, checkpoint, tmp_path / "out") == expected


def test_second_run_after_a_kill_of_several_workers_gives_the_same_bytes(
    tmp_path: Path, checkpoint: Path, recipe: Recipe
) -> None:
    expected = streamed(recipe, checkpoint, tmp_path / "whole")
    for after in (1, 2):
        killed(recipe, checkpoint, tmp_path / f"out-{after}", after, workers=2)
        assert streamed(recipe, checkpoint, tmp_path / f"out-{after}") == expected


def test_finished_shards_are_not_written_again(tmp_path: Path, checkpoint: Path, recipe: Recipe) -> None:
    killed(recipe, checkpoint, tmp_path / "out", 30)
    partial = tmp_path / ".out.partial"
    journal = [json.loads(line) for line in (partial / "journal.jsonl").read_text().splitlines()[1:]]
    before = {e["file"]: (partial / "result" / e["file"]).stat().st_ino for e in journal if "/" not in e["file"]}
    assert before
    streamed(recipe, checkpoint, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).stat().st_ino for name in before} == before


def test_finished_shard_that_was_damaged_since_is_written_again(
    tmp_path: Path, checkpoint: Path, recipe: Recipe
) -> None:
    expected = streamed(recipe, checkpoint, tmp_path / "whole")
    killed(recipe, checkpoint, tmp_path / "out", 30)
    shard = min((tmp_path / ".out.partial" / "result").iterdir())
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert streamed(recipe, checkpoint, tmp_path / "out") == expected


@pytest.mark.parametrize("damage", [b"", b'{"work"', b'{"work": 3}\n', b"[]\n"])
def test_damaged_journal_starts_anew(tmp_path: Path, checkpoint: Path, recipe: Recipe, damage: bytes) -> None:
    expected = streamed(recipe, checkpoint, tmp_path / "whole")
    killed(recipe, checkpoint, tmp_path / "out", 20)
    (tmp_path / ".out.partial" / "journal.jsonl").write_bytes(damage)
    assert streamed(recipe, checkpoint, tmp_path / "out") == expected


def test_last_line_of_the_journal_may_be_cut_short(tmp_path: Path, checkpoint: Path, recipe: Recipe) -> None:
    expected = streamed(recipe, checkpoint, tmp_path / "whole")
    killed(recipe, checkpoint, tmp_path / "out", 30)
    journal = tmp_path / ".out.partial" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert streamed(recipe, checkpoint, tmp_path / "out") == expected


def test_other_source_or_recipe_starts_anew(tmp_path: Path, checkpoint: Path, recipe: Recipe) -> None:
    killed(recipe, checkpoint, tmp_path / "out", 30)
    torch.manual_seed(1)
    save_file(Blocks().state_dict(), checkpoint / "model.safetensors")
    expected = streamed(recipe, checkpoint, tmp_path / "whole")
    assert streamed(recipe, checkpoint, tmp_path / "out") == expected
    killed(recipe, checkpoint, tmp_path / "other", 30)
    other = rewriter.plan(Blocks(), "hdfgd", seed=1)
    assert streamed(other, checkpoint, tmp_path / "other") == streamed(other, checkpoint, tmp_path / "other whole")


def test_run_that_ended_between_renaming_and_tidying_is_finished(
    tmp_path: Path, checkpoint: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("rewriter.streaming.partial.Partial.clear", stop)
        patched.setattr("rewriter.streaming.partial.Partial.begin", begin_without_clearing)
        with pytest.raises(KeyboardInterrupt):
            stream(Blocks(), recipe, checkpoint, tmp_path / "out", shard_size=SHARD)
    assert (tmp_path / ".out.partial" / "journal.jsonl").exists()
    before = contents(tmp_path / "out")
    assert streamed(recipe, checkpoint, tmp_path / "out") == before


def begin_without_clearing(self, work: str) -> dict:
    (self.folder / "journal.jsonl").write_text(json.dumps({"work": work}) + "\n")
    self.result.mkdir()
    return {}


def test_two_processes_do_not_write_one_folder(tmp_path: Path, checkpoint: Path, recipe: Recipe) -> None:
    (tmp_path / ".out.partial").mkdir()
    held = os.open(tmp_path / ".out.partial", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="another one"):
        stream(Blocks(), recipe, checkpoint, tmp_path / "out")
    os.close(held)
    streamed(recipe, checkpoint, tmp_path / "out")


def test_folder_of_somebody_else_under_the_same_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "thesis.tex").write_text("x")
    with partial_of(tmp_path / "out") as partial, pytest.raises(UsageError, match=r"thesis\.tex"):
        partial.begin("work")
    assert (tmp_path / ".out.partial" / "thesis.tex").exists()


def test_link_in_the_place_of_the_unfinished_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".out.partial").symlink_to("elsewhere")
    with pytest.raises(UsageError), partial_of(tmp_path / "out"):
        pass


def test_memory_is_bounded_by_a_layer_and_not_by_the_checkpoint(tmp_path: Path) -> None:
    def make() -> nn.Module:
        mlp = nn.Sequential(nn.Linear(512, 4096), nn.GELU(), nn.Linear(4096, 512))
        return nn.ModuleList([mlp, *(nn.Linear(4096, 1024) for _ in range(12))])

    def run() -> None:
        torch.set_num_threads(1)
        with torch.device("meta"):
            model = make()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        before = memory("VmRSS")
        stream(model, recipe, tmp_path / "in", tmp_path / "out", shard_size=1 << 30)
        grown = memory("VmHWM") - before
        assert grown < 60_000, f"{grown} kB for layers of 16 MB in a checkpoint of 218 MB"

    with torch.device("meta"):
        recipe = rewriter.plan(make(), "hdfgd")
    (tmp_path / "in").mkdir()
    save_file(make().state_dict(), tmp_path / "in" / "model.safetensors")
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == 0


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
