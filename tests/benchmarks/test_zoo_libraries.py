"""The zoo of other libraries: what is left out and why, and that the models of those that are here do run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from benchmarks import zoo_libraries
from benchmarks.libraries.library_model import LibraryModel
from benchmarks.plan_check import check_plan
from benchmarks.rewrite_check import check_rewrite
from benchmarks.zoo import zoo
from rewriter.errors import UsageError
from tests.benchmarks.test_coverage import APP

FOLDER = Path(zoo_libraries.__file__).parent / "libraries"


class Hop(nn.Module):
    """Adds up what the neighbours have, between two linears: a graph has no batch dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        gathered = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
        return self.second(self.act(self.first(gathered)))


def graph() -> Mapping[str, Tensor]:
    return {"x": torch.randn(5, 4), "edges": torch.tensor([[0, 1, 2], [1, 2, 4]])}


@pytest.fixture
def a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a library of one model in the place of all, and one that is not installed beside it."""
    module = ModuleType("benchmarks.libraries.graphs")
    module.MODELS = {"hop": LibraryModel(Hop, graph, 2, "one more than there is")}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "benchmarks.libraries.absent", None)  # so that its import fails
    monkeypatch.setattr(zoo_libraries, "PACKAGES", {"graphs": "graphs", "absent": "absent"})


@pytest.mark.usefixtures("a_library")
def test_a_library_that_cannot_be_imported_is_left_out_with_a_reason() -> None:
    assert [(model.name, model.family) for model in zoo("libraries")] == [("graphs.hop", "graphs")]
    assert list(zoo_libraries.left_out()) == ["absent"]
    assert "Error: import of benchmarks.libraries.absent" in zoo_libraries.left_out()["absent"]


@pytest.mark.usefixtures("a_library")
def test_a_model_is_built_and_planned_on_the_cpu_with_the_inputs_that_are_given() -> None:
    (entry,) = zoo("libraries")
    row = check_plan(entry)
    assert (row.crash, row.device, row.executed) == ("", "cpu", 1)
    assert (row.counted, row.note) == (2, "one more than there is")
    assert '"mlp": 1' in row.kinds


@pytest.mark.usefixtures("a_library")
def test_a_model_with_given_inputs_is_rewritten_and_keeps_every_promise() -> None:
    (entry,) = zoo("libraries")
    row = check_rewrite(entry, "hdfgd")
    assert (row.outcome, row.reason, row.mlps, row.sites) == ("ok", "", 1, 1)


def test_without_any_library_the_error_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo_libraries, "PACKAGES", {"absent": "absent"})
    with pytest.raises(UsageError, match="none that can be imported") as refused:
        zoo("libraries")
    assert "benchmarks/libraries.txt" in str(refused.value)


def test_every_library_has_a_file_and_a_version_and_the_other_way_round() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "library_model"}
    assert files == zoo_libraries.PACKAGES.keys()
    lines = (FOLDER.with_suffix(".txt")).read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    assert pinned >= set(zoo_libraries.PACKAGES.values())


def test_libraries_are_not_exported(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(APP, ["libraries", "--export", "ga", "--output", str(tmp_path)])
    assert outcome.exit_code == 2


@pytest.mark.parametrize("library", zoo_libraries.PACKAGES)
def test_the_models_of_a_library_that_is_installed_are_built_and_run(library: str) -> None:
    reason = zoo_libraries.left_out().get(library)
    if reason is not None:
        pytest.skip(f"{library} is left out: {reason}")
    for model in zoo("libraries", globs=[f"{library}.*"]):
        row = check_plan(model)
        assert row.crash == "", model.name
        assert row.executed is not None, model.name
        assert row.counted is not None, model.name
