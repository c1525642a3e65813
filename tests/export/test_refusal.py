"""An export that differs is told from one whose model only rounds: both sides against the model in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.onnx import export_onnx
from export.pair import open_pair
from export.parity import prove
from export.rounding import Rounding, roundings
from rewriter.errors import IllConditionedError, ValidationError
from rewriter.sources.inputs import InputSpec

SPECS = (InputSpec(name="x", shape=(8,)),)
BESIDE = " from the model in float64, the file "


class Cancelling(nn.Module):
    """Computes a layer, but loses digits of it on the way: as many as ``magnitude`` has."""

    def __init__(self, magnitude: float) -> None:
        super().__init__()
        self.layer, self.magnitude = nn.Linear(8, 4), magnitude

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        return (h + self.magnitude) - self.magnitude


class Both(Cancelling):
    """Two outputs, of which the second loses no digits."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x), self.layer(x)  # type: ignore[return-value]


def traced(model: nn.Module, change: Callable[[nn.Module, Tensor], object], path: Path) -> Path:
    """Write a TorchScript file of what ``change`` makes of the model's layer."""

    class Changed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model.layer

        def forward(self, x: Tensor) -> object:
            return change(self.layer, x)

    torch.jit.save(torch.jit.trace(Changed().eval(), torch.zeros(2, 8, dtype=model.layer.weight.dtype)), path)
    return path


def refused(model: nn.Module, path: Path) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        prove(model, SPECS, path, "torchscript")
    return raised.value


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_a_file_closer_to_float64_than_eager_is_a_matter_of_conditioning(tmp_path: Path) -> None:
    model = Cancelling(1e6)
    error = refused(model, traced(model, lambda layer, x: layer(x), tmp_path / "model.ts"))
    assert isinstance(error, IllConditionedError)
    assert error.exit_code == ValidationError.exit_code
    assert BESIDE in error.found
    assert error.found.endswith(")")  # no node is named
    assert "train the model first" in str(error)


def test_a_wrong_file_of_the_same_model_is_not(tmp_path: Path) -> None:
    model = Cancelling(1e4)  # eager itself is beyond the tolerance, but not by as much
    error = refused(model, traced(model, lambda layer, x: layer(x) * 1.5, tmp_path / "model.ts"))
    assert type(error) is ValidationError
    assert BESIDE in error.found


def test_one_wrong_output_is_not_excused_by_another(tmp_path: Path) -> None:
    model = Both(1e6)
    right = traced(model, lambda layer, x: (layer(x), layer(x)), tmp_path / "right.ts")
    wrong = traced(model, lambda layer, x: (layer(x), layer(x) * 1.001), tmp_path / "wrong.ts")
    assert type(refused(model, right)) is IllConditionedError
    assert type(refused(model, wrong)) is ValidationError


@torch.jit.script
def bent_at_seven(x: Tensor) -> Tensor:
    return x[:, :1] * 0 + (1 + 0.01 * float(x.shape[0] == 7))


@pytest.mark.parametrize(("magnitude", "kind"), [(1e6, IllConditionedError), (0.0, ValidationError)])
def test_conditioning_is_judged_over_all_inputs(magnitude: float, kind: type[ValidationError], tmp_path: Path) -> None:
    class AtTwo(Cancelling):
        """Loses its digits at batch 2 alone."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if len(x) == 2 else self.layer(x)

    model = AtTwo(magnitude)
    path = traced(model, lambda layer, x: layer(x) * bent_at_seven(x), tmp_path / "model.ts")
    assert type(refused(model, path)) is kind


def test_a_file_that_is_wrong_at_one_size_is_not_excused_at_the_others(tmp_path: Path) -> None:
    model = Cancelling(1e6)
    path = traced(model, lambda layer, x: layer(x) * (500 * bent_at_seven(x) - 499), tmp_path / "model.ts")
    assert type(refused(model, path)) is ValidationError


def test_a_model_that_only_runs_in_float32_is_refused_as_any_other(tmp_path: Path) -> None:
    class Single(Cancelling):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.float())

    model = Single(1e6)
    error = refused(model, traced(model, lambda layer, x: layer(x), tmp_path / "model.ts"))
    assert type(error) is ValidationError
    assert BESIDE not in error.found


@pytest.mark.parametrize(
    ("eager", "exported", "alone"),
    [(0.1, 0.9, True), (0.1, 1.1, False), (0.0, 0.1, False), (math.inf, 0.1, False), (math.inf, math.inf, False)],
)
def test_what_is_no_number_is_no_rounding(eager: float, exported: float, alone: bool) -> None:
    assert Rounding(eager, exported).alone == alone


def test_half_precision_is_held_against_its_own_rounding(tmp_path: Path) -> None:
    model = Cancelling(100.0).half()
    error = refused(model, traced(model, lambda layer, x: layer(x), tmp_path / "model.ts"))
    assert type(error) is IllConditionedError


@pytest.mark.parametrize("runs", [True, False])
def test_both_sides_stay_what_they_are(runs: bool, tmp_path: Path) -> None:
    class Own(Cancelling):
        def forward(self, x: Tensor) -> Tensor:
            assert runs or x.dtype != torch.float64
            return super().forward(x)

    model = Own(1e6)
    weight = model.layer.weight.clone()
    pair = open_pair(model, SPECS, traced(model, lambda layer, x: layer(x), tmp_path / "model.ts"), "torchscript")
    trial = next(pair.trials((2,), ()))
    before = pair.eager(trial)[0][1]
    assert bool(roundings(pair, trial)) == runs
    assert pair.view.model.layer.weight.dtype == torch.float32
    assert torch.equal(pair.eager(trial)[0][1], before)
    assert torch.equal(model.layer.weight, weight)


def test_a_bent_export_of_a_sound_model_is_its_own_fault(
    small: tuple[nn.Module, tuple[InputSpec, ...]], tmp_path: Path
) -> None:
    model, specs = small
    export_onnx(model, specs, tmp_path / "model.onnx")
    with torch.no_grad():
        model[0].weight.mul_(1.01)
    with pytest.raises(ValidationError) as raised:
        prove(model, specs, tmp_path / "model.onnx", "onnx")
    assert type(raised.value) is ValidationError
