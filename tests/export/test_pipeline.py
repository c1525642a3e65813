from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export import TARGETS, check_exports, export_model
from rewriter.errors import ExportError, UsageError, ValidationError
from rewriter.sources.inputs import InputSpec

PORTABLE = ["onnx", "torchscript", "pt2"]
"""The targets that need no compiler."""


class Unexportable(nn.Module):
    """Its number of rows depends on values: torch.export refuses it, the script compiler too."""

    def forward(self, input: Tensor) -> Tensor:
        rows = [row for row in input.tolist() if sum(row) > 1e9]
        return input if not rows else torch.tensor(rows, dtype=eval("input.dtype"))


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A directory that already holds an export of an earlier run."""
    directory = tmp_path / "out"
    directory.mkdir()
    (directory / "model.onnx").write_bytes(b"earlier")
    (directory / "recipe.json").write_bytes(b"{}")
    return directory


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def wrong_exporter(model: nn.Module, *args: Any, **options: Any) -> None:
    wrong = nn.Sequential(model, nn.Threshold(0.0, 0.0))
    TARGETS["torchscript"].export(wrong, *args, **options)


def test_every_target_arrives_with_its_parity(small, tmp_path: Path) -> None:
    model, specs = small
    parity = export_model(model, specs, tmp_path / "out", PORTABLE)
    assert sorted(contents(tmp_path)) == ["out/model.onnx", "out/model.pt2", "out/model.ts", "out/parity.json"]
    assert parity.targets == PORTABLE
    assert type(parity).model_validate_json((tmp_path / "out/parity.json").read_bytes()) == parity
    assert check_exports(model, specs, tmp_path / "out") == parity


def test_the_model_is_left_as_found(small, tmp_path: Path) -> None:
    model, specs = small
    model[1].eval()
    next(model.parameters()).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training = [module.training for module in model.modules()]
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    export_model(model, specs, tmp_path / "out", PORTABLE)
    assert [module.training for module in model.modules()] == training
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_failing_exporter_leaves_the_directory_as_it_was(small, before: Path) -> None:
    earlier = contents(before.parent)
    with pytest.raises(ExportError, match=r"torch\.export can export; found \w+"):
        export_model(Unexportable(), small[1], before, ["torchscript", "pt2"])
    assert contents(before.parent) == earlier
    assert list(before.parent.iterdir()) == [before]


def test_a_wrong_export_leaves_the_directory_as_it_was(small, before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, specs = small
    earlier = contents(before.parent)
    like_torchscript = {"load": TARGETS["torchscript"].load, "record": TARGETS["torchscript"].record}
    wrong = dataclasses.replace(TARGETS["pt2"], export=wrong_exporter, **like_torchscript)
    monkeypatch.setitem(TARGETS, "pt2", wrong)
    message = r"0\.0001 between pt2 and eager PyTorch; found .* at batch [127] \(.*\): .* the first in aten\.threshold"
    with pytest.raises(ValidationError, match=message):
        export_model(model, specs, before, ["torchscript", "pt2"])
    assert contents(before.parent) == earlier
    assert list(before.parent.iterdir()) == [before]


def test_a_failure_makes_no_directory(small, tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        export_model(Unexportable(), small[1], tmp_path / "out", ["pt2"])
    assert not list(tmp_path.iterdir())


def test_an_export_replaces_its_own_earlier_file_and_keeps_the_others(small, before: Path) -> None:
    model, specs = small
    export_model(model, specs, before, ["pt2"])
    (before / "model.onnx").unlink()
    parity = export_model(model, specs, before, ["torchscript", "torchscript"], batch_sizes=(2,))
    assert (parity.targets, len(parity.comparisons)) == (["torchscript"], 1)
    assert check_exports(model, specs, before).targets == ["torchscript", "pt2"]
    assert b'"target": "pt2"' in (before / "parity.json").read_bytes()
    assert (before / "recipe.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("targets", "message"),
    [(["onxx"], "did you mean 'onnx'"), ([], "found none"), (["onnx", "tflite"], "choose one of")],
)
def test_an_unknown_target_is_a_usage_error(small, targets: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export_model(*small, tmp_path / "out", targets)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_not_a_directory_is_a_usage_error(small, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "absent" / "out"):
        with pytest.raises(UsageError, match="a directory"):
            export_model(*small, place, ["torchscript"])


def test_a_changed_weight_is_found_later_from_the_files_alone(small, tmp_path: Path) -> None:
    model, specs = small
    export_model(model, specs, tmp_path / "out", ["onnx"])
    path = tmp_path / "out/model.onnx"
    found = onnx.load(path)
    weight = found.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.05, weight.name))
    onnx.save(found, path)
    with pytest.raises(ValidationError, match="between onnx and eager"):
        check_exports(model, specs, tmp_path / "out")


def test_a_recorded_export_that_is_gone_is_a_validation_error(small, tmp_path: Path) -> None:
    model, specs = small
    export_model(model, specs, tmp_path / "out", ["torchscript"])
    (tmp_path / "out/model.ts").unlink()
    with pytest.raises(ValidationError, match="export to torchscript again"):
        check_exports(model, specs, tmp_path / "out")


def test_a_directory_without_exports_has_nothing_to_check(small, tmp_path: Path) -> None:
    assert check_exports(*small, tmp_path).comparisons == ()


def test_a_parity_file_that_cannot_be_opened_is_a_validation_error(small, tmp_path: Path) -> None:
    (tmp_path / "parity.json").mkdir()
    for call in (check_exports, lambda *given: export_model(*given, ["torchscript"])):
        with pytest.raises(ValidationError, match=r"parity\.json; found .*; delete it and export again"):
            call(*small, tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"comparisons": [{}]}', b"\xff\xfe"])
def test_a_parity_file_that_is_not_one_is_a_validation_error(small, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "parity.json").write_bytes(content)
    with pytest.raises(ValidationError, match=r"parity\.json"):
        check_exports(*small, tmp_path)


@pytest.mark.parametrize("target", PORTABLE)
def test_inputs_that_do_not_fit_the_model_are_a_usage_error(small, target: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"takes input\[5\] per example; found .*mat1 and mat2"):
        export_model(small[0], [InputSpec(name="input", shape=(5,))], tmp_path / "out", [target])
    assert not list(tmp_path.iterdir())


def test_weights_beside_an_earlier_larger_export_go_away(before: Path, small) -> None:
    model, specs = small
    (before / "model.onnx.data").write_bytes(b"earlier")
    (before / "model.ts.note").write_bytes(b"of another target")
    export_model(model, specs, before, ["onnx"])
    assert sorted(contents(before)) == ["model.onnx", "model.ts.note", "parity.json", "recipe.json"]
