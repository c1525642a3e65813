"""Gated MLPs, convolutional MLPs and transposed linears are sites, and rewriting them keeps what they compute."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from rewriter.layouts import features


class Net(nn.Module):
    """Layers in an arrangement given as a function."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.forward = MethodType(run, self)
        for name, module in modules.items():
            self.add_module(name, module)


def swiglu(m: Any, x: Tensor) -> Tensor:
    return m.down(m.act(m.gate(x)) * m.up(x))


def packed(m: Any, x: Tensor) -> Tensor:
    first, second = m.both(x).chunk(2, dim=-1)
    return m.down(m.act(first) * second)


def packed_second(m: Any, x: Tensor) -> Tensor:
    first, second = torch.chunk(m.both(x), 2, dim=-1)
    return m.down(first * F.silu(second))


def cut_at_fixed_positions(m: Any, x: Tensor) -> Tensor:
    first, second = m.both(x).split([6, 6], dim=-1)
    return m.down(m.act(first) * second)


def swiglu_with_multipliers(m: Any, x: Tensor) -> Tensor:
    return m.down(2.0 * (m.up(x) * (m.act(m.gate(x) * 0.5) / 3))) * 0.25


def two_layers() -> Net:
    return Net(swiglu, gate=nn.Linear(4, 6, bias=False), up=nn.Linear(4, 6), down=nn.Linear(6, 4), act=nn.SiLU())


def with_multipliers() -> Net:
    layers = {"gate": nn.Linear(4, 6), "up": nn.Linear(4, 6), "down": nn.Linear(6, 4)}
    return Net(swiglu_with_multipliers, act=nn.SiLU(), **layers)


def one_layer(run: Callable[[Any, Tensor], Tensor]) -> Net:
    return Net(run, both=nn.Linear(4, 12), down=nn.Linear(6, 4), act=nn.SiLU())


def convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 6, 1), nn.SiLU(), nn.Dropout(), nn.Conv2d(6, 4, 1, bias=False))


def transposed() -> nn.Module:
    conv1d = pytest.importorskip("transformers").pytorch_utils.Conv1D
    return nn.Sequential(conv1d(6, 4), nn.SiLU(), conv1d(4, 6))


MODELS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...]]] = {
    "two layers": (two_layers, "gated", (3, 4)),
    "packed, first half activated": (lambda: one_layer(packed), "gated", (3, 4)),
    "packed, second half activated": (lambda: one_layer(packed_second), "gated", (3, 4)),
    "1x1 convolutions": (convolutions, "mlp", (3, 4, 5, 5)),
    "multipliers between": (with_multipliers, "gated", (3, 4)),
    "transposed linears": (transposed, "mlp", (3, 4)),
}


@pytest.mark.parametrize("case", MODELS)
def test_it_is_one_site_of_its_kind(case: str) -> None:
    make, kind, _ = MODELS[case]
    (site,) = rewriter.capture(make()).sites
    assert site.kind == kind
    assert site.consumer is not None


@pytest.mark.parametrize("case", MODELS)
def test_branches_with_the_original_weights_compute_what_the_original_computed(case: str) -> None:
    make, _, shape = MODELS[case]
    model = make().eval()
    result = rewriter.rewrite(model, "hdfgd", width="keep", terms=2)
    (site,) = result.recipe.sites
    assert site.hidden is not None
    with torch.no_grad():
        for record in result.recipe.linears:
            old, new = model.get_submodule(record.path), result.model.get_submodule(record.path)
            for (name, values), target in zip(old.named_parameters(), new.parameters(), strict=True):
                target.copy_(tiled(values, name, target, site.hidden[0], record.half))
    x = torch.randn(shape)
    torch.testing.assert_close(result.model.eval()(x), model(x), rtol=1e-5, atol=1e-6)


def tiled(values: Tensor, name: str, target: nn.Parameter, hidden: int, half: int | None) -> Tensor:
    """Repeat the units of the activated layer, so that both branches are the original one."""
    if values.shape == target.shape:
        return values
    dim = next(d for d in range(values.ndim) if values.shape[d] != target.shape[d])
    if half is None:
        return torch.cat([values, values], dim)
    first, second = values.split(hidden, dim)
    return torch.cat([first, first, second] if half == 0 else [first, second, second], dim)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_the_budget_holds_and_every_parameter_trains(case: str, method: str) -> None:
    make, _, shape = MODELS[case]
    torch.manual_seed(0)
    model = make()
    result = rewriter.rewrite(model, method, example_inputs=torch.randn(shape))
    before = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in result.model.parameters()) <= before
    result.model.eval()(torch.randn(shape)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in result.model.parameters())


@pytest.mark.parametrize("case", MODELS)
def test_it_is_restored_bit_for_bit(case: str, tmp_path: Any) -> None:
    make, _, shape = MODELS[case]
    result = rewriter.rewrite(make(), "sa", width="keep")
    rewriter.save(result, tmp_path / "out")
    restored = rewriter.restore(make(), tmp_path / "out").eval()
    x = torch.randn(shape)
    assert torch.equal(restored(x), result.model.eval()(x))


def test_the_other_factor_keeps_one_value_for_each_hidden_unit() -> None:
    result = rewriter.rewrite(two_layers(), "hdfgd", width=5, terms=2)
    layers = [features(result.model.get_submodule(name)) for name in ("gate", "up", "down")]
    assert layers == [(4, 10), (4, 5), (5, 4)]
    assert result.model.get_submodule("gate").bias is None


@pytest.mark.parametrize("method", ["ga", "swap"])
def test_methods_that_change_activations_only_leave_gates_alone(method: str) -> None:
    with pytest.raises(rewriter.NoSiteError, match="it is the gate of a gated MLP"):
        rewriter.plan(two_layers(), method)


def test_a_packed_layer_that_is_cut_at_fixed_positions_is_a_miss_that_says_so() -> None:
    captured = rewriter.capture(one_layer(cut_at_fixed_positions))
    assert captured.sites == ()
    assert "fixed positions" in captured.misses[0].reason


def test_a_gate_whose_layer_serves_another_value_too_is_no_mlp() -> None:
    model = Net(
        lambda m, x: swiglu(m, x) + m.up(x).sum(),
        gate=nn.Linear(4, 6), up=nn.Linear(4, 6), down=nn.Linear(6, 4), act=nn.SiLU(),
    )  # fmt: skip
    with pytest.raises(rewriter.NoSiteError, match="up is also called outside this MLP"):
        rewriter.plan(model, "hdfgd")


def test_an_mlp_whose_output_is_gated_is_one_and_its_gate_is_none() -> None:
    def shared_expert(m: Any, x: Tensor) -> Tensor:
        return torch.sigmoid(m.gate(x)) * m.down(m.act(m.up(x)))

    layers = {"gate": nn.Linear(4, 1), "up": nn.Linear(4, 6), "down": nn.Linear(6, 4)}
    capture = rewriter.capture(Net(shared_expert, act=nn.GELU(), **layers))
    assert [(site.path, site.kind) for site in capture.sites] == [("act", "mlp")]
    assert [miss.function for miss in capture.misses] == ["sigmoid"]


def test_the_square_of_a_value_is_part_of_the_formula_and_no_multiplication_by_a_number() -> None:
    def squared(m: Any, x: Tensor) -> Tensor:
        hidden = m.first(x)
        return m.second(m.act(hidden * hidden))

    model, x = Net(squared, first=nn.Linear(4, 6), second=nn.Linear(6, 4), act=nn.GELU()), torch.randn(5, 4)
    result = rewriter.rewrite(model, "swap", activation="silu")
    assert [site.producer for site in result.recipe.sites] == ["first"]
    torch.testing.assert_close(result.model(x), model.second(F.silu(model.first(x))))


def test_the_inside_of_squeeze_and_excite_is_no_mlp() -> None:
    model = timm.create_model("test_efficientnet")
    inside = [site for site in rewriter.capture(model).sites if ".se." in site.path]
    assert all(site.kind == "conv" for site in inside)
    assert all("squeeze-and-excite" in str(site.not_an_mlp) for site in inside)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224?mlp_layer=GluMlp", "eva02_tiny_patch14_224", "test_convnext", "test_vit3"]
)
def test_models_of_the_zoo_with_such_mlps_are_rewritten(name: str) -> None:
    name, _, option = name.partition("?")
    options = {"mlp_layer": getattr(timm.layers, option.partition("=")[2])} if option else {}
    if name.endswith("224"):
        options["depth"] = 2
    model = timm.create_model(name, **options).eval()
    size = model.pretrained_cfg["input_size"]
    result = rewriter.rewrite(model, "hdfgd", example_inputs=torch.randn(1, *size))
    assert {site.kind for site in result.recipe.sites} <= {"mlp", "gated"}
    assert result.recipe.parameters_after <= result.recipe.parameters_before
