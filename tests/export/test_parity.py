from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.axes import EXAMPLE_BATCH
from export.onnx import export_onnx
from export.parity import Parity, compare, require_parity
from export.program import export_program
from export.targets import TARGETS
from export.torchscript import export_torchscript
from rewriter.errors import ValidationError
from rewriter.sources.inputs import InputSpec


def bend_one_weight(path: Path) -> None:
    """Change the largest weight of an ONNX file by 1 %."""
    found = onnx.load(path)
    weight = max(found.graph.initializer, key=lambda tensor: numpy_helper.to_array(tensor).size)
    values = numpy_helper.to_array(weight).copy()
    values.flat[abs(values).argmax()] *= 1.01
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(found, path)


@pytest.mark.parametrize("target", list(TARGETS))
def test_every_target_agrees_at_batches_1_2_and_7_from_one_file(case, target: str, tmp_path: Path) -> None:
    model, specs = case
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(model, specs, path)
    parity = compare(model, specs, path, target, (1, 2, 7))
    require_parity(parity)
    assert {one.batch_size for one in parity.comparisons} == {1, 2, 7}
    assert all(one.tolerance == (0.0 if one.output == "label" else 1e-4) for one in parity.comparisons)
    assert all(one.cosine > 0.9999 for one in parity.comparisons)


def test_a_text_model_is_compared_at_two_lengths_and_every_output(text, tmp_path: Path) -> None:
    model, specs = text
    export_program(model, specs, tmp_path / "model.pt2")
    parity = compare(model, specs, tmp_path / "model.pt2", "pt2")
    assert Counter((one.batch_size, one.sequence_length, one.output) for one in parity.comparisons) == {
        (batch_size, length, output): 1
        for batch_size in (1, 3)
        for length in (12, 8)
        for output in ("last_hidden_state", "pooler_output")
    }


def test_top1_is_given_for_rows_of_classes_only(small, text, tmp_path: Path) -> None:
    for (model, specs), top1 in ((small, [1.0, 1.0]), (text, [None, 1.0] * 4)):
        export_program(model, specs, tmp_path / "model.pt2")
        parity = compare(model, specs, tmp_path / "model.pt2", "pt2")
        assert [one.top1_agreement for one in parity.comparisons] == top1


def test_one_bent_weight_is_caught_and_named(small, tmp_path: Path) -> None:
    model, specs = small
    export_onnx(model, specs, tmp_path / "model.onnx")
    bend_one_weight(tmp_path / "model.onnx")
    parity = compare(model, specs, tmp_path / "model.onnx", "onnx")
    assert not any(one.passed for one in parity.comparisons)
    with pytest.raises(ValidationError, match=r"between onnx and eager PyTorch; found .* in 'output' at batch [13]"):
        require_parity(parity)


def test_a_trace_that_baked_the_batch_in_is_caught(tmp_path: Path) -> None:
    class Baked(nn.Module):
        def forward(self, **inputs: Tensor) -> Tensor:  # takes names only, so it is traced
            x = inputs["x"]
            return x.reshape(int(x.shape[0]) // 1, 4, 2) + torch.ones(len(x.tolist()), 1, 1)

    specs = [InputSpec(name="x", shape=(8,))]
    export_torchscript(Baked(), specs, tmp_path / "model.ts")
    require_parity(compare(Baked(), specs, tmp_path / "model.ts", "torchscript", (EXAMPLE_BATCH,)))
    with pytest.raises(ValidationError, match=r"model\.ts at batch 1 to return shapes|model\.ts to run at batch"):
        require_parity(compare(Baked(), specs, tmp_path / "model.ts", "torchscript", (1, 3)))


@pytest.mark.parametrize("target", list(TARGETS))
def test_a_truncated_file_is_a_validation_error(small, target: str, tmp_path: Path) -> None:
    model, specs = small
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(model, specs, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValidationError, match=f"{path.name} to load"):
        compare(model, specs, path, target)


@pytest.mark.parametrize("target", list(TARGETS))
def test_half_precision_weights_have_a_tolerance_of_their_own(target: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, specs = (
        nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10)).half(),
        [InputSpec(name="x", shape=(64,))],
    )
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(model, specs, path)
    parity = compare(model, specs, path, target)
    require_parity(parity)
    assert {one.tolerance for one in parity.comparisons} == {5e-3}


def test_parity_survives_json(small, tmp_path: Path) -> None:
    model, specs = small
    export_torchscript(model, specs, tmp_path / "model.ts")
    parity = compare(model, specs, tmp_path / "model.ts", "torchscript")
    assert Parity.model_validate_json(parity.model_dump_json()) == parity
