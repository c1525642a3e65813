"""What ``rewrite-model export`` lets a user choose, and what it tells."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from export import TARGETS

SOURCE = "py:rewriter.demo.model:digits_vit"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import rewriter
    from rewriter.recipe import SourceRecord
    from rewriter.sources.source import load_source

    source = load_source(SOURCE, trained=False)
    record = SourceRecord(spec=source.spec, checkpoint=None, files=(), inputs=source.inputs)
    path = tmp_path_factory.mktemp("export") / "out"
    rewriter.save(rewriter.rewrite(source.model, "hdfgd", source=record), path)
    return path


def test_opset_and_precision_are_the_user_s_and_the_file_tells_where_it_comes_from(run: Any, folder: Path) -> None:
    done = run("export", folder, "--to", "onnx", "--opset", "18", "--precision", "fp16", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["files"] == ["model.onnx"]
    counts = report["onnx_nodes"]
    assert counts["simplified"] in (None, counts["exported"])
    assert {one["tolerance"] for one in report["comparisons"]} == {5e-3}
    model = onnx.load(folder / "model.onnx")
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "recipe_sha256": hashlib.sha256((folder / "recipe.json").read_bytes()).hexdigest(),
        "method": "hdfgd",
        "source": SOURCE,
        "precision": "fp16",
    }


def test_the_deprecation_of_torchscript_is_said_once_in_one_line(run: Any, folder: Path) -> None:
    done = run("export", folder, "--to", "torchscript", "--json")
    assert done.code == 0, done.err
    assert [line for line in done.err.splitlines() if "TorchScript" in line] == [f"note: {TARGETS['torchscript'].note}"]
    assert json.loads(done.out)["onnx_nodes"] is None


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--to", "pt2", "--opset", "18"), 2, "--opset with the target onnx"),
        (("--to", "onnx", "--opset", "999"), 2, "an opset up to"),
        (("--precision", "fp61"), 2, "fp16"),
        (("--to", "pt2", "--dynamic-size"), 7, "leave --dynamic-size out"),
    ],
)
def test_a_choice_that_cannot_be_met_is_an_error_with_a_remedy(
    options: tuple[str, ...], code: int, message: str, run: Any, folder: Path
) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    done = run("export", folder, *options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
