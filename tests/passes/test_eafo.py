from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import rewriter
from passes.eafo import EAFO, EAFOConfig
from passes.functions.correction import correction
from passes.functions.density import normal
from passes.layers.corrected import Corrected
from rewriter.cli.main import app
from rewriter.demo.digits import load_split
from rewriter.demo.model import DigitsViT, digits_vit
from rewriter.demo.train import accuracy
from rewriter.errors import NoSiteError, UsageError
from rewriter.recipe import Recipe
from rewriter.sites import Site

DIGITS = "py:rewriter.demo.model:digits_vit"


def mlp(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 64), activation, nn.Linear(64, 3))


def settings_of(recipe: Recipe) -> dict[str, Any]:
    return dict(recipe.sites[0].placement.settings)


def images(count: int = 96) -> Tensor:
    return load_split().train.images[:count]


def test_without_calibration_a_site_keeps_its_activation_and_is_corrected_for_the_normal_density() -> None:
    result = rewriter.rewrite(mlp(nn.Tanh()), "eafo", strength=0.2)
    layer, u = result.model[1], torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected = torch.tanh(u) - 0.2 * correction("tanh", normal())(u)
    assert torch.allclose(layer(u), expected, atol=1e-6)
    assert result.recipe.sites[0].placement.function == "eafo[tanh] for N(0, 1)"


def test_with_calibration_a_site_is_corrected_for_what_enters_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    with torch.no_grad():  # every pre-activation is drawn from N(1, 2²)
        model[0].weight.copy_(2 * torch.eye(2))
        model[0].bias.fill_(1.0)
    inputs = torch.randn(2**16, 2, generator=torch.Generator().manual_seed(0))
    layer = rewriter.rewrite(model, "eafo", calibration=inputs.split(2**13), strength=1.0).model[1]
    u = torch.linspace(-5, 7, 101, dtype=torch.float64)
    found = (torch.tanh(u) - layer(u)).detach()
    assert (found - correction("tanh", normal(1.0, 2.0))(u)).abs().max() < 0.02
    assert (found - correction("tanh", normal(0.0, 1.0))(u)).abs().max() > 0.1


def test_an_activation_without_an_inverse_gives_way_to_relu() -> None:
    result = rewriter.rewrite(mlp(nn.GELU()), "eafo")
    u = torch.linspace(-4, 4, 101, dtype=torch.float64)
    crrelu = torch.relu(u) - 0.01 / math.sqrt(2 * math.pi) * u * torch.exp(-(u**2) / 2)
    assert torch.allclose(result.model[1](u), crrelu, atol=1e-7)


def test_an_activation_with_parameters_keeps_them() -> None:
    result = rewriter.rewrite(mlp(nn.LeakyReLU(0.3)), "eafo", strength=0.0)
    u = torch.linspace(-4, 4, 101)
    assert torch.equal(result.model[1](u), nn.functional.leaky_relu(u, 0.3))


def test_settings_hold_the_entropies_and_the_ranking() -> None:
    settings = settings_of(rewriter.plan(mlp(nn.Sigmoid()), "eafo"))
    assert settings["entropy_after"] < settings["entropy_before"] == settings["ranking"]["sigmoid"]
    assert list(settings["ranking"].values()) == sorted(settings["ranking"].values())
    assert {"relu", "elu", "celu", "gelu", "silu", "mish"} <= settings["ranking"].keys()


def test_one_trainable_scalar_per_site_enters_the_parameter_report() -> None:
    result = rewriter.rewrite(DigitsViT(), "eafo")
    assert [site.parameters_after - site.parameters_before for site in result.report.sites] == [1] * 6
    assert result.report.totals.parameters_after == result.report.totals.parameters_before + 6
    assert sum(p.numel() for p in result.model.parameters()) == result.report.totals.parameters_after


def test_asking_for_an_activation_without_an_inverse_is_an_error() -> None:
    with pytest.raises(UsageError, match="expected an activation with an inverse; found gelu"):
        rewriter.plan(mlp(nn.Tanh()), "eafo", activation="gelu")


def test_a_site_that_calibration_never_reaches_or_leaves_constant_is_a_miss_with_a_reason() -> None:
    model = mlp(nn.Tanh())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(0.5)
    with pytest.raises(NoSiteError, match="constant on the calibration inputs"):
        rewriter.plan(model, "eafo", calibration=[torch.randn(8, 4)])


def test_methods_that_do_not_measure_never_look_at_the_calibration_inputs() -> None:
    def untouchable() -> Any:
        raise AssertionError("calibration was read")
        yield

    rewriter.rewrite(mlp(nn.Tanh()), "hdfgd", calibration=untouchable())


def test_digits_model_is_measured_rewritten_saved_and_restored_bit_for_bit(tmp_path: Path) -> None:
    model = digits_vit()
    result = rewriter.rewrite(model, "eafo", calibration=images().split(32))
    assert [site.placement.function for site in result.recipe.sites] == ["eafo[relu] for measured"] * 6
    assert len({json.dumps(site.placement.settings["density"]) for site in result.recipe.sites}) == 6
    test = load_split().test
    assert accuracy(result.model, test) > 0.9
    rewriter.save(result, tmp_path / "out")
    restored = rewriter.restore(DigitsViT(), tmp_path / "out").eval()
    with torch.inference_mode():
        assert torch.equal(restored(test.images), result.model.eval()(test.images))
    assert (tmp_path / "out" / "recipe.json").stat().st_size < 200_000


def test_strength_trains() -> None:
    model = rewriter.rewrite(mlp(nn.Tanh()), "eafo").model
    model(torch.randn(16, 4)).square().sum().backward()
    assert model[1].strength.grad.abs() > 0


def test_graph_pass_measures_too() -> None:
    graph_module = torch.fx.symbolic_trace(mlp(nn.Tanh()))
    outcome = rewriter.graph_pass("eafo", calibration=[torch.randn(64, 4)], strength=1.0)(graph_module)
    assert outcome.modified
    (layer,) = (module for module in outcome.graph_module.modules() if isinstance(module, Corrected))
    u = torch.linspace(-3, 3, 101, dtype=torch.float64)
    assert (torch.tanh(u) - layer(u) - correction("tanh", normal())(u)).abs().max() > 0.1


def test_commands_apply_with_and_without_a_calibration_file(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images().numpy())
    for name, extra in {"normal": [], "measured": ["--calibration", str(tmp_path / "images.npy")]}.items():
        done = CliRunner().invoke(
            app, ["apply", DIGITS, "--method", "eafo", *extra, "-o", str(tmp_path / name), "--json"]
        )
        assert done.exit_code == 0, done.output
        recipe = Recipe.read(tmp_path / name / "recipe.json")
        assert settings_of(recipe)["density"]["kind"] == name


def test_command_refuses_a_calibration_file_that_is_none(tmp_path: Path) -> None:
    arguments = ["plan", DIGITS, "--method", "eafo", "--calibration", str(tmp_path / "none.npy")]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, UsageError)
    assert "does not exist" in str(refused.exception)


def test_a_sites_own_formula_is_corrected(site_with: Callable[..., Site]) -> None:
    method, config, site = EAFO(), EAFOConfig(strength=0.2), site_with("tanh(2*x)")
    assert method.refuse(site, config) is None
    placement = method.place(site, 0, config)
    assert placement.function == "eafo[tanh(2*x)] for N(0, 1)"
    u = torch.linspace(-5, 5, 101, dtype=torch.float64)
    p, t = torch.exp(-u * u / 2) / math.sqrt(2 * math.pi), torch.tanh(2 * u)
    kappa = p * (-4 * t) + u * p  # p·f''/f' - p'
    found = method.build(placement.settings, -1)(u)
    assert (found - (t - 0.2 * kappa)).abs().max() < 1e-6


@pytest.mark.parametrize("formula", ["x*sigmoid(2*x)", "max(x,0)**3", "max(tanh(x),x**3)"])
def test_a_formula_without_an_inverse_gives_way_to_relu(site_with: Callable[..., Site], formula: str) -> None:
    assert EAFO().refuse(site_with(formula), EAFOConfig()) is None
    assert EAFO().place(site_with(formula), 0, EAFOConfig()).function == "eafo[relu] for N(0, 1)"
    with pytest.raises(UsageError, match="expected an activation with an inverse"):
        EAFO().refuse(site_with("relu"), EAFOConfig(activation=formula))


@pytest.mark.parametrize("name", ["hardshrink", "rrelu", "x/abs(x)"])
def test_a_sites_own_function_without_a_formula_is_left_with_the_reason(
    site_with: Callable[..., Site], name: str
) -> None:
    reason = EAFO().refuse(site_with(name), EAFOConfig())
    assert reason is not None
    assert reason.endswith("name another function with --activation")
    assert EAFO().refuse(site_with(name), EAFOConfig(activation="tanh")) is None
