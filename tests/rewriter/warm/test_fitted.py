"""At equal parameters, calibration data decides what is kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter
from rewriter.errors import UsageError


def _model() -> nn.Module:
    torch.manual_seed(1)
    layers = [nn.Linear(8, 48), nn.GELU(), nn.Linear(48, 8), nn.LayerNorm(8)]
    return nn.Sequential(*layers, nn.Linear(8, 48), nn.GELU(), nn.Linear(48, 8)).eval()


def _inputs(seed: int = 0, batches: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(64, 8, generator=generator) for _ in range(batches)]


def _warmed(calibration: Iterable[Any] | None, **options: Any) -> rewriter.Result:
    return rewriter.rewrite(_model(), "hdfgd", init="warm", calibration=calibration, **options)


def _error(model: nn.Module) -> float:
    (unseen,) = _inputs(seed=9, batches=1)
    with torch.no_grad():
        expected = _model()(unseen)
        return float((model(unseen) - expected).norm() / expected.norm())


@pytest.fixture(autouse=True, params=["float32", "bfloat16"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both precisions on every machine: which one it multiplies faster in is measured, and may change between runs."""
    monkeypatch.setattr("rewriter.warm.warming.faster_precision", lambda device: request.param)


def test_each_stage_brings_the_outputs_nearer_to_the_original() -> None:
    given = _inputs(batches=20)
    random = rewriter.rewrite(_model(), "hdfgd", terms=2)
    stages = [random, _warmed(None), _warmed(given, warm_steps=0), _warmed(given, warm_steps=200)]
    assert {stage.recipe.sites[0].placement.function for stage in stages} == {"gelu/2"}
    drawn, copied, refitted, distilled = (_error(stage.model) for stage in stages)
    assert copied < 0.75 * drawn
    assert refitted < 0.5 * copied
    assert distilled < 0.95 * refitted


def test_the_report_has_the_errors_of_sites_and_outputs() -> None:
    warm = _warmed(_inputs(), warm_steps=5).report.warm
    assert warm is not None
    assert (warm.inputs, warm.refitted, warm.steps) == (6, 2, 5)
    assert warm.output_before is not None
    assert warm.output_after is not None
    assert warm.output_after < warm.output_before
    assert [site.path for site in warm.sites] == ["1", "5"]
    assert all(s.before is not None and s.after is not None and s.after < s.before for s in warm.sites)


def test_the_same_seed_and_steps_give_the_same_weights_bit_for_bit() -> None:
    torch.manual_seed(5)
    first = _warmed(_inputs(), warm_steps=7)
    torch.manual_seed(6)
    second = _warmed(iter(_inputs()), warm_steps=7)
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_nothing_but_the_new_layers_changes_and_gradients_are_as_before() -> None:
    model = _model()
    model.get_parameter("3.weight").requires_grad_(False)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = rewriter.rewrite(model, "hdfgd", init="warm", calibration=_inputs(), warm_steps=3)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(result.model.get_parameter("3.weight"), kept["3.weight"])
    assert not result.model.get_parameter("3.weight").requires_grad
    assert result.model.get_parameter("0.weight").requires_grad
    assert all(p.grad is None for p in (*model.parameters(), *result.model.parameters()))


def test_in_place_the_original_still_teaches() -> None:
    model = _model()
    result = rewriter.rewrite(model, "hdfgd", init="warm", calibration=_inputs(), warm_steps=0, inplace=True)
    assert result.model is model
    assert _error(model) == pytest.approx(_error(_warmed(_inputs(), warm_steps=0).model), rel=1e-3)


def test_a_warm_recipe_restores_without_calibration(tmp_path: Path) -> None:
    result = _warmed(_inputs(), warm_steps=2)
    rewriter.save(result, tmp_path / "saved")
    restored = rewriter.restore(_model(), tmp_path / "saved")
    (unseen,) = _inputs(seed=9, batches=1)
    assert torch.equal(restored(unseen), result.model(unseen))


def test_adversarial_sites_are_regressed_too() -> None:
    warm = rewriter.rewrite(_model(), "sa", init="warm", width="keep", calibration=_inputs(), warm_steps=0).report.warm
    assert warm is not None
    adversarial = warm.sites[0]
    assert adversarial.before is not None
    assert adversarial.after is not None
    assert adversarial.after < adversarial.before / 2


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ([torch.full((64, 8), torch.nan)], "NaN or infinity in input 0"),
        ([], "at least one calibration input"),
        (torch.zeros(64, 8), "put it in a list"),
        ([torch.zeros(64, 9)], "calibration inputs that the model runs on"),
        ([torch.randn(5, 8)], "one for each hidden unit"),
    ],
)
def test_calibration_that_does_not_serve_is_refused_in_one_line(calibration: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        _warmed(calibration)
    assert "\n" not in str(caught.value)
