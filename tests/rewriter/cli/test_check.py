"""``--check``: by itself where it is possible and cheap, exit code 4 with the site where a plan is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from benchmarks.faults import FAULTS, put_in
from rewriter.cli import checking

SHAPE = ("--input-shape", "3x8")
EXACT = "checked: exact with the old functions, widths and weights"
FAULT = next(fault for fault in FAULTS if fault.name == "bias lost")


def blocks() -> nn.Module:
    from benchmarks.fault_models import Blocks

    return Blocks()


def uneven() -> nn.Module:
    from itertools import count

    numbers = count(1)

    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.mlp(x) * next(numbers)
            return y

    return Uneven()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A module of the models above that `py:` can import."""
    (tmp_path / "checked_models.py").write_text(Path(__file__).read_text().split("@pytest.fixture")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    return "py:checked_models:"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "checked: exactness is not checked"),
        (SHAPE, EXACT),
        ((*SHAPE, "--check"), EXACT),
        ((*SHAPE, "--no-check"), "checked: exactness is not checked"),
        (("--no-check",), "checked: exactness is not checked"),
    ],
)
def test_it_runs_where_the_inputs_are_known(run: Any, sources: str, arguments: Any, words: str) -> None:
    outcome = run("plan", f"{sources}blocks", "--method", "hdfgd", *arguments)
    assert outcome.code == 0, outcome.err
    assert words in " ".join((outcome.out + outcome.err).split())


@pytest.mark.parametrize("asked", [(), ("--check",)])
def test_it_runs_on_large_models_only_when_asked(
    run: Any, sources: str, monkeypatch: pytest.MonkeyPatch, asked: Any
) -> None:
    monkeypatch.setattr(checking, "_MOST_PARAMETERS", 0)
    outcome = run("plan", f"{sources}blocks", "--method", "hdfgd", *SHAPE, *asked)
    assert (EXACT in " ".join((outcome.out + outcome.err).split())) == bool(asked)


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_asked_for_without_inputs_is_exit_code_2(run: Any, sources: str, tmp_path: Path, command: str) -> None:
    where = ("-o", tmp_path / "out") if command == "apply" else ()
    outcome = run(command, f"{sources}blocks", "--method", "hdfgd", "--check", *where)
    assert outcome.code == 2
    assert "give --input-shape" in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_wrong_plan_is_exit_code_4_and_names_the_site(run: Any, sources: str, tmp_path: Path, command: str) -> None:
    where = ("-o", tmp_path / "out") if command == "apply" else ()
    with put_in(FAULT):
        outcome = run(command, f"{sources}blocks", "--method", "hdfgd", *SHAPE, *where)
        unchecked = run("plan", f"{sources}blocks", "--method", "hdfgd", *SHAPE, "--no-check")
    assert outcome.code == 4
    assert "first with first.1 (gelu fed by first.0)" in outcome.err
    assert "exclude first.1 and report the model" in outcome.err
    assert not (tmp_path / "out").exists()
    assert unchecked.code == 0


def test_nothing_to_compare_is_told_and_an_error_when_asked(run: Any, sources: str) -> None:
    told = run("plan", f"{sources}uneven", "--method", "hdfgd", *SHAPE)
    assert told.code == 0
    text = " ".join((told.out + told.err).split())
    assert "exactness is not checked: the model gives other outputs every time in eval and train mode" in text
    asked = run("plan", f"{sources}uneven", "--method", "hdfgd", *SHAPE, "--check")
    assert asked.code == 4
    assert "expected outputs to compare" in asked.err
    assert "leave --check out" in asked.err


def test_a_stream_has_nothing_to_run(run: Any, sources: str, tmp_path: Path) -> None:
    outcome = run("apply", f"{sources}blocks", "--stream", "--check", "-o", tmp_path / "out")
    assert outcome.code == 2
    assert "--stream without --check" in outcome.err


def test_apply_says_what_was_checked(run: Any, sources: str, tmp_path: Path) -> None:
    outcome = run("apply", f"{sources}blocks", "--method", "hdfgd", *SHAPE, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    text = " ".join((outcome.out + outcome.err).split())
    assert "parameters as planned, exact with the old functions, widths and weights, its outputs are finite" in text


def test_json_is_nothing_but_the_report(run: Any, sources: str) -> None:
    outcome = run("plan", f"{sources}blocks", "--method", "hdfgd", *SHAPE, "--json")
    assert outcome.code == 0
    assert outcome.out.lstrip().startswith("{")
    assert "checked" not in outcome.out
