from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.axes import EXAMPLE_BATCH
from export.comparison import Parity
from export.onnx import export_onnx
from export.parity import compare, prove
from export.program import export_program
from export.targets import TARGETS
from export.torchscript import export_torchscript
from rewriter.errors import ExportError, ValidationError
from rewriter.sources.inputs import InputSpec


def bend_one_weight(path: Path) -> None:
    """Change the largest weight of an ONNX file by 1 %."""
    found = onnx.load(path)
    weight = max(found.graph.initializer, key=lambda tensor: numpy_helper.to_array(tensor).size)
    values = numpy_helper.to_array(weight).copy()
    values.flat[abs(values).argmax()] *= 1.01
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(found, path)


WATCHED = [name for name, target in TARGETS.items() if target.record is not None]
"""The targets that need no compiler."""


@pytest.mark.parametrize("target", WATCHED)
def test_every_target_agrees_at_batches_1_2_and_7_from_one_file(case, target: str, tmp_path: Path) -> None:
    model, specs = case
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(model, specs, path)
    parity = prove(model, specs, path, target)
    assert {one.batch_size for one in parity.comparisons} == {1, 2, 7}
    assert all(one.tolerance == (0.0 if one.output == "label" else 1e-4) for one in parity.comparisons)
    assert all(one.cosine > 0.9999 for one in parity.comparisons)


def test_a_text_model_is_compared_at_two_lengths_and_every_output(text, tmp_path: Path) -> None:
    model, specs = text
    export_program(model, specs, tmp_path / "model.pt2")
    parity = compare(model, specs, tmp_path / "model.pt2", "pt2")
    assert Counter((one.batch_size, one.sequence_length, one.output) for one in parity.comparisons) == {
        (batch_size, length, output): 1
        for batch_size in (1, 2, 7)
        for length in (12, 8)
        for output in ("last_hidden_state", "pooler_output")
    }


def test_top1_is_given_for_rows_of_classes_only(small, text, tmp_path: Path) -> None:
    for (model, specs), top1 in ((small, [1.0] * 3), (text, [None, 1.0] * 6)):
        export_program(model, specs, tmp_path / "model.pt2")
        parity = compare(model, specs, tmp_path / "model.pt2", "pt2")
        assert [one.top1_agreement for one in parity.comparisons] == top1


def test_one_bent_weight_is_caught_and_named(small, tmp_path: Path) -> None:
    model, specs = small
    export_onnx(model, specs, tmp_path / "model.onnx")
    bend_one_weight(tmp_path / "model.onnx")
    parity = compare(model, specs, tmp_path / "model.onnx", "onnx")
    assert parity.failed == list(parity.comparisons)
    with pytest.raises(
        ValidationError, match=r"between onnx and eager PyTorch; found .* in 'output' at batch [127] \(eager "
    ):
        prove(model, specs, tmp_path / "model.onnx", "onnx")


class Baked(nn.Module):
    """Its trace holds the number of examples fast."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(int(x.shape[0]) // 1, 4, 2) + torch.ones(len(x.tolist()), 1, 1)


class BakedByName(Baked):
    def forward(self, **inputs: Tensor) -> Tensor:  # takes names only, so it is not scripted
        return super().forward(inputs["x"])


def test_a_trace_that_baked_the_batch_in_is_caught(tmp_path: Path) -> None:
    specs = [InputSpec(name="x", shape=(8,))]
    torch.jit.save(torch.jit.trace(Baked(), torch.zeros(EXAMPLE_BATCH, 8)), tmp_path / "model.ts")
    prove(Baked(), specs, tmp_path / "model.ts", "torchscript", (EXAMPLE_BATCH,))
    with pytest.raises(ValidationError, match=r"model\.ts at batch 1 to return 1 outputs|model\.ts to run at batch"):
        prove(Baked(), specs, tmp_path / "model.ts", "torchscript", (1, 3))


def test_a_model_whose_trace_would_bake_the_batch_in_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a model that TorchScript can export"):
        export_torchscript(BakedByName(), [InputSpec(name="x", shape=(8,))], tmp_path / "model.ts")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", WATCHED)
def test_a_truncated_file_is_a_validation_error(small, target: str, tmp_path: Path) -> None:
    model, specs = small
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(model, specs, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValidationError, match=f"{path.name} to load"):
        compare(model, specs, path, target)


@pytest.mark.parametrize("target", WATCHED)
def test_half_precision_weights_have_a_tolerance_of_their_own(target: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, specs = (
        nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10)).half(),
        [InputSpec(name="x", shape=(64,))],
    )
    path = tmp_path / TARGETS[target].filename
    TARGETS[target].export(model, specs, path)
    parity = prove(model, specs, path, target)
    assert {(one.tolerance, one.weights) for one in parity.comparisons} == {(5e-3, "float16")}


def test_parity_survives_json(small, tmp_path: Path) -> None:
    model, specs = small
    export_torchscript(model, specs, tmp_path / "model.ts")
    parity = compare(model, specs, tmp_path / "model.ts", "torchscript")
    assert Parity.model_validate_json(parity.model_dump_json()) == parity


class Changed(nn.Module):
    """Adds ``change(x)`` to what the model returns; it is exported in the model's place."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, input: Tensor) -> Tensor:
        return self.model(input) + self.change(input)


def changed(small: tuple[nn.Module, Sequence[InputSpec]], change: Callable[[Tensor], Tensor], folder: Path) -> Path:
    model, specs = small
    traced = torch.jit.trace(Changed(model, change).eval(), torch.zeros(2, *specs[0].shape), check_trace=False)
    torch.jit.save(traced, folder / "model.ts")
    return folder / "model.ts"


@torch.jit.script
def raises_at_seven(x: Tensor) -> Tensor:
    if x.shape[0] == 7:
        raise RuntimeError("seven")
    return x[:, :1] * 0


@torch.jit.script
def errs_at_seven(x: Tensor) -> Tensor:
    return x[:, :1] * 0 + float(x.shape[0] == 7)


def test_an_export_that_fails_at_one_batch_size_alone_is_caught_there(small, tmp_path: Path) -> None:
    path = changed(small, raises_at_seven, tmp_path)
    compare(*small, path, "torchscript", (1, 2, 6))
    with pytest.raises(ValidationError, match=r"expected model\.ts to run at batch 7; found .*seven"):
        compare(*small, path, "torchscript")


def test_an_export_that_is_wrong_at_one_batch_size_alone_is_caught_there(small, tmp_path: Path) -> None:
    path = changed(small, errs_at_seven, tmp_path)
    message = r"at batch 7 \(.*\): it has every value of the model and others beside them, the first in aten\.slice;"
    with pytest.raises(ValidationError, match=message):
        prove(*small, path, "torchscript")


def test_a_difference_that_only_real_inputs_reach_is_caught(small, tmp_path: Path) -> None:
    path = changed(small, lambda x: (x.abs().amax(1, keepdim=True) > 100).float(), tmp_path)
    prove(*small, path, "torchscript")
    real = [torch.randn(3, 8), torch.full((5, 8), 200.0)]
    parity = compare(*small, path, "torchscript", real=real)
    assert [(one.inputs, one.batch_size) for one in parity.failed] == [("real", 5)]
    with pytest.raises(
        ValidationError, match=r"at batch 5 of real inputs \(.*\): it has every value .* the first in aten\."
    ):
        prove(*small, path, "torchscript", real=real)


def test_outputs_of_the_model_that_are_nan_are_a_validation_error(small, tmp_path: Path) -> None:
    model, specs = small
    export_torchscript(model, specs, tmp_path / "model.ts")
    with torch.no_grad():
        model[3].bias[0] = float("nan")
    with pytest.raises(ValidationError, match="can be compared; found NaN in 'output' at batch 1"):
        compare(model, specs, tmp_path / "model.ts", "torchscript")


class Returns(nn.Module):
    """Returns what is made of its one layer's output."""

    def __init__(self, outputs: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer, self.outputs = nn.Linear(8, 4), outputs

    def forward(self, input: Tensor) -> object:
        return self.outputs(self.layer(input))


def test_booleans_and_integers_are_compared_exactly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, specs = Returns(lambda y: (y > 0, y.argsort(1))), [InputSpec(name="input", shape=(8,))]
    export_onnx(model, specs, tmp_path / "model.onnx")
    parity = prove(model, specs, tmp_path / "model.onnx", "onnx")
    assert {(one.max_abs, one.tolerance, one.top1_agreement) for one in parity.comparisons} == {(0.0, 0.0, None)}
    with torch.no_grad():
        model.layer.weight[0] *= -1
    with pytest.raises(
        ValidationError, match=r"of at most 0 between onnx .* in 'output(_1)?' at batch \d \(.*\): the first"
    ):
        prove(model, specs, tmp_path / "model.onnx", "onnx")


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (lambda y: (y, y + 1), lambda y: y, r"to return 2 outputs: float\[1, 4\], float\[1, 4\]; found 1: float"),
        (lambda y: y, lambda y: (y, y), r"to return 1 outputs: float\[1, 4\]; found 2: "),
        (lambda y: y > 0, lambda y: (y > 0).float(), r"bool\[1, 4\]; found 1: float\[1, 4\]"),
        (lambda y: y, lambda y: y[:, :3], r"float\[1, 4\]; found 1: float\[1, 3\]"),
    ],
)
def test_outputs_of_another_number_kind_or_shape_are_told(
    ours: Callable[[Tensor], object], theirs: Callable[[Tensor], object], message: str, tmp_path: Path
) -> None:
    specs = [InputSpec(name="input", shape=(8,))]
    traced = torch.jit.trace(Returns(theirs), torch.zeros(2, 8))
    torch.jit.save(traced, tmp_path / "model.ts")
    with pytest.raises(ValidationError, match=message):
        compare(Returns(ours), specs, tmp_path / "model.ts", "torchscript")
