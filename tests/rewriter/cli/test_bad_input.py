"""Every bad input: one line that says expected, found and what to do, the exit code, and nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

VIT = "timm:vit_tiny_patch16_224?depth=2&img_size=32&num_classes=4"


def small_vit(**changes: Any) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **{"depth": 2, "img_size": 32, "num_classes": 4, **changes})


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo a pickle ran code >&2",)


def require_refused(outcome: Any, code: int, *words: str) -> None:
    assert outcome.code == code, outcome
    assert outcome.out == ""
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: expected ")
    assert "; found " in lines[0]
    assert "Traceback" not in lines[0]
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["plan", "timmm:resnet18"], 2, ["timm"]),
        (["plan", "timm:vit_tiny_patch16_22"], 2, ["vit_tiny_patch16_224"]),
        (["plan", "torchvision:resnet19"], 2, ["resnet"]),
        (["plan", "py:no.such.module:factory"], 2, ["no.such"]),
        (["plan", "hf:no/such/folder/here"], 2, []),
        (["plan", VIT, "--method", "hdgfd"], 2, ["'hdfgd'"]),
        (["plan", VIT, "--activation", "gleu"], 2, ["'gelu'"]),
        (["plan", VIT, "--set", "decomposition=gelu/5"], 2, ["gelu/"]),
        (["plan", VIT, "--set", "decomposition=x1*sigmoyd(x2)", "--activation", "silu"], 2, ["sigmoid"]),
        (["plan", VIT, "--set", "decomposition=x1*sigmoid(x2)", "--activation", "gelu"], 2, ["x ="]),
        (["plan", VIT, "--width", "0"], 2, ["width"]),
        (["plan", VIT, "--width", "²"], 2, ["width"]),
        (["plan", VIT, "--terms", "7"], 2, ["2 or 3 or 4"]),
        (["plan", VIT, "--method", "hdfgd", "--alpha", "2"], 2, ["alpha"]),
        (["plan", VIT, "--method", "ga", "--alpha", "0.05"], 2, ["alpha >= 0.12"]),
        (["plan", VIT, "--method", "ga", "--alpha", "-1"], 2, ["alpha"]),
        (["plan", VIT, "--width", "wide"], 2, ["width"]),
        (["plan", VIT, "--set", "combine"], 2, ["--set NAME=VALUE"]),
        (["plan", VIT, "--set", "combin=sum"], 2, ["'combine'"]),
        (["plan", VIT, "--input-shape", "3,32,32"], 2, ["3x224x224"]),
        (["plan", VIT, "--checkpoint", "absent.safetensors"], 6, ["absent.safetensors"]),
        (["plan", "timm:resnet18", "--method", "swap", "--activation", "relu"], 3, ["it is relu already"]),
        (["plan", VIT, "--include", "nothing.*"], 3, ["include"]),
        (["list", "method"], 2, ["'methods'"]),
        (["export", "no-such-folder"], 2, ["recipe"]),
        (["verify", "no-such-folder"], 2, ["recipe"]),
    ],
)
def test_a_bad_argument_is_one_line_with_its_exit_code(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    require_refused(run(*arguments), code, *words)
    assert list(tmp_path.iterdir()) == []


def _wrong_architecture(path: Path) -> str:
    torch.save(small_vit(depth=3).state_dict(), path)
    return "unexpected"


def _pickled_code(path: Path) -> str:
    torch.save({"state_dict": small_vit().state_dict(), "extra": RunsCode()}, path)
    return "safetensors"


def _truncated(path: Path) -> str:
    safetensors.torch.save_file(small_vit().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-1000])
    return path.name


def _not_a_number(path: Path) -> str:
    state = small_vit().state_dict()
    state["head.weight"][0, 0] = torch.nan
    torch.save({"model": state}, path)
    return "head.weight"


@pytest.mark.parametrize("spoil", [_wrong_architecture, _pickled_code, _truncated, _not_a_number])
def test_a_bad_checkpoint_is_exit_code_6_and_nothing_is_written(run: Any, tmp_path: Path, spoil: Any) -> None:
    word = spoil(tmp_path / "weights.pt")
    outcome = run("apply", VIT, "--checkpoint", tmp_path / "weights.pt", "-o", tmp_path / "out")
    require_refused(outcome, 6, word)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


def test_an_output_folder_that_exists_is_left_as_it_is(run: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    require_refused(run("apply", VIT, "-o", tmp_path / "out"), 2, "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_strict_refuses_a_model_with_a_module_that_cannot_be_captured(run: Any, tmp_path: Path) -> None:
    source = "py:tests.models.undecided:undecided"
    require_refused(run("plan", source, "--strict"), 5, "strict", "found 1 that were not, first 3")
    assert run("plan", source).code == 0


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from rewriter.cli.main import main
    from rewriter.errors import UsageError

    monkeypatch.setattr("sys.argv", ["rewrite-model", "plan", "timm:no_such_model_at_all", "--debug"])
    with pytest.raises(UsageError):
        main()


def test_an_unexpected_error_is_one_line_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("rewriter.cli.plan.open_source", broken)
    outcome = run("plan", VIT)
    assert outcome.code == 1
    assert outcome.err == "error: unexpected RuntimeError: first line second line; run again with --debug\n"
