"""What `verify` finds later, from the files alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import rewriter
from export import export_model
from rewriter.cli.opening import record_of
from rewriter.sources.source import load_source
from rewriter.storage import save


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rewritten model with an export."""
    source = load_source("py:rewriter.demo.model:digits_vit")
    out = tmp_path_factory.mktemp("made") / "out"
    recipe = rewriter.plan(source.model, "ga", source=record_of(source, None))
    result = rewriter.apply(source.model, recipe)
    save(result, out)
    export_model(result.model, source.inputs, out, ["onnx"])
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "out")


def images(path: Path, count: int, *shape: int) -> Path:
    np.save(path, np.random.default_rng(0).uniform(0, 16, (count, *shape)).astype(np.float32))
    return path


def test_real_inputs_are_compared_too(run: Any, out: Path, tmp_path: Path) -> None:
    shape = load_source("py:rewriter.demo.model:digits_vit").inputs[0].shape
    file = images(tmp_path / "digits.npy", 70, *shape)
    outcome = run("verify", out, "--calibration", file, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["real_inputs"], found["tolerances"]) == (True, {"onnx": 1e-4})
    assert not json.loads(run("verify", out, "--json").out)["real_inputs"]
    text = " ".join(run("verify", out, "--calibration", file).out.split())
    for size, origin in (
        (1, "random"),
        (2, "random"),
        (7, "random"),
        (1, "real"),
        (2, "real"),
        (7, "real"),
        (6, "real"),
    ):
        assert f"│ {size} {origin} │" in text
    assert "tolerance: max|Δ| ≤ 1e-04·max|y| for weights of float32" in text


def test_export_compares_on_real_inputs_and_records_it(run: Any, out: Path, tmp_path: Path) -> None:
    shape = load_source("py:rewriter.demo.model:digits_vit").inputs[0].shape
    file = images(tmp_path / "digits.npy", 3, *shape)
    assert run("export", out, "--to", "torchscript", "--calibration", file).code == 0
    recorded = json.loads((out / "parity.json").read_text())["comparisons"]
    sizes = [(one["inputs"], one["batch_size"]) for one in recorded if one["target"] == "torchscript"]
    assert sizes == [("random", 1), ("random", 2), ("random", 7), ("real", 1), ("real", 2), ("real", 3)]


@pytest.mark.parametrize("command", ["verify", "export"])
def test_real_inputs_of_another_shape_are_a_usage_error(run: Any, out: Path, tmp_path: Path, command: str) -> None:
    outcome = run(command, out, "--calibration", images(tmp_path / "wrong.npy", 2, 3, 5))
    assert outcome.code == 2
    assert "expected real inputs" in outcome.err
    assert "found [3, 5]" in outcome.err


def test_a_bent_weight_ends_in_exit_code_4_and_the_node_s_name(run: Any, out: Path) -> None:
    graph = onnx.load(out / "model.onnx")
    node = next(node for node in reversed(graph.graph.node) if node.op_type in {"Gemm", "MatMul"})
    weight = next(one for one in graph.graph.initializer if one.name == node.input[1])
    values = numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(graph, out / "model.onnx")
    outcome = run("verify", out)
    assert outcome.code == 4
    assert f"the first to differ is node {node.name!r}" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("command", [["verify"], ["export", "--to", "torchscript"]])
@pytest.mark.parametrize("content", [None, b"", b"\xff\x00", b"[" * 100_000, b'{"comparisons": 3}'])
def test_a_parity_file_that_cannot_be_read_is_exit_code_4_in_one_line(
    run: Any, out: Path, content: bytes | None, command: list[str]
) -> None:
    (out / "parity.json").unlink()
    if content is None:
        (out / "parity.json").mkdir()
    else:
        (out / "parity.json").write_bytes(content)
    before = sorted(path.name for path in out.iterdir())
    outcome = run(command[0], out, *command[1:])
    assert outcome.code == 4, outcome.err
    assert "parity.json" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert sorted(path.name for path in out.iterdir()) == before
