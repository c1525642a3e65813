"""The command: resumable, and a page of what it found."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.coverage import main
from benchmarks.plan_check import PlanRow
from benchmarks.row_file import RowFile
from benchmarks.zoo import zoo
from rewriter.errors import UsageError

APP = typer.Typer()
APP.command()(main)
ARGUMENTS = ["timm", "--models", "test_vit", "--methods", "hdfgd", "--workers", "1", "--output"]


def test_a_run_writes_rows_and_a_page_and_a_second_run_measures_nothing(tmp_path: Path) -> None:
    first = CliRunner().invoke(APP, [*ARGUMENTS, str(tmp_path)])
    assert first.exit_code == 0, first.output
    assert "2 of 2 measured" in first.output
    with (tmp_path / "coverage-timm-all-rewrite.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["name"], row["method"], row["outcome"]) == ("test_vit", "hdfgd", "ok")
    page = (tmp_path / "coverage-timm-all.md").read_text(encoding="utf-8")
    assert "| vision_transformer | 1 |" in page
    assert "| command |" in page
    assert "0 of 0 measured" in CliRunner().invoke(APP, [*ARGUMENTS, str(tmp_path)]).output


@pytest.mark.parametrize("arguments", [["tim"], ["timm", "--sample", "most"], ["timm", "--methods", "gaa"]])
def test_an_unknown_name_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    outcome = CliRunner().invoke(APP, [*arguments, "--output", str(tmp_path)])
    assert outcome.exit_code == 2
    assert "Traceback" not in outcome.output
    assert not list(tmp_path.iterdir())


def test_rows_come_back_as_written_and_the_last_of_a_model_counts(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "rows.csv", PlanRow, fresh=False)
    rows.add(PlanRow("timm", "a", "family", crash='one, "quoted"'))
    rows.add(PlanRow("timm", "b", "family"))
    rows.add(PlanRow("timm", "a", "family", sites=3))
    assert [(row["name"], row["sites"], row["crash"]) for row in rows.read()] == [("a", "3", ""), ("b", "0", "")]
    assert RowFile(rows.path, PlanRow, fresh=True).read() == []


def test_a_row_cut_off_by_an_interruption_is_measured_again(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "rows.csv", PlanRow, fresh=False)
    rows.add(PlanRow("timm", "a", "family"))
    with rows.path.open("a", encoding="utf-8") as stream:
        stream.write("timm,b,fam")
    assert [row["name"] for row in rows.read()] == ["a"]
    rows.add(PlanRow("timm", "b", "family", sites=2))
    assert [(row["name"], row["sites"]) for row in rows.read()] == [("a", "0"), ("b", "2")]


def test_the_smallest_of_each_family_is_chosen_by_parameters() -> None:
    names = ["resnet10t", "resnet18", "test_vit", "vit_tiny_patch16_224"]
    assert {model.name for model in zoo("timm", "smallest", names)} == {"resnet10t", "test_vit"}


def test_classification_leaves_other_tasks_and_other_inputs_out() -> None:
    names = ["resnet18", "fcn_resnet50", "fasterrcnn_resnet50_fpn", "raft_small", "r3d_18", "quantized_resnet18"]
    assert {model.name for model in zoo("torchvision", "all", names)} == set(names)
    assert {model.name for model in zoo("torchvision", "classification", names)} == {"resnet18"}


def test_a_library_without_a_matching_model_is_refused() -> None:
    with pytest.raises(UsageError, match="none that matches"):
        zoo("timm", "all", ["no_such_model"])
