"""Quantised weights: their layers keep their shape with a reason, in a model and in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from rewriter.checkpoints.loading import load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Packed(nn.Module):
    """A linear of weights in 8 bits, packed in a buffer, as weight-only quantisation keeps them."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.register_buffer("qweight", torch.randint(-8, 8, (fan_out, fan_in), dtype=torch.int8))
        self.scale = nn.Parameter(torch.ones(fan_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.qweight.to(x.dtype) * self.scale)


class Linear8bit(nn.Linear):
    """A linear whose parameter holds integers and whose own code makes numbers of them."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__(fan_in, fan_out)
        integers = torch.randint(0, 200, (fan_out, fan_in), dtype=torch.uint8)
        self.weight = nn.Parameter(integers, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, (self.weight.to(x.dtype) - 100) / 100, self.bias)


class Scaled(Tensor):
    """A tensor subclass in the place of a weight, as tensor-subclass quantisation has it."""


def subclassed() -> nn.Module:
    model = mlp()
    model[0].weight = nn.Parameter(torch.randn(8, 4).as_subclass(Scaled))
    return model


def integers() -> nn.Module:
    model = mlp()
    model[0].weight = nn.Parameter(torch.zeros(8, 4, dtype=torch.uint8), requires_grad=False)
    return model


def dynamic() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear}, torch.qint8)


QUANTISED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "torch.ao": (dynamic, "its layer is quantised: Linear"),
    "packed buffer": (
        lambda: nn.Sequential(Packed(4, 8), nn.GELU(), Packed(8, 4)),
        r"0 \(Packed\) has quantised weights: rewrite the model before it is quantised",
    ),
    "integer parameter": (
        lambda: nn.Sequential(Linear8bit(4, 8), nn.GELU(), Linear8bit(8, 4)),
        r"0 \(Linear8bit\) has quantised weights: rewrite the model before it is quantised",
    ),
    "second layer": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.GELU(), Packed(8, 4)),
        r"2 \(Packed\) has quantised weights: rewrite the model before it is quantised",
    ),
    "plain linear of integers": (integers, r"0.weight is no plain tensor \(Tensor, torch.uint8\)"),
    "tensor subclass": (subclassed, r"0.weight is no plain tensor \(Scaled, torch.float32\)"),
}


@pytest.mark.parametrize("case", QUANTISED)
@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_a_quantised_layer_is_not_resized_and_the_reason_says_so(case: str, method: str) -> None:
    make, reason = QUANTISED[case]
    with pytest.raises(rewriter.NoSiteError, match=reason):
        rewriter.plan(make(), method)


@pytest.mark.parametrize("case", ["packed buffer", "integer parameter", "second layer"])
def test_new_functions_beside_quantised_layers_have_the_dtype_of_the_numbers_computed(case: str) -> None:
    torch.manual_seed(0)
    model = QUANTISED[case][0]()
    result = rewriter.rewrite(model, "swap", example_inputs=torch.randn(3, 4))
    (epsilon,) = result.model[1].parameters()
    assert (epsilon.dtype, epsilon.requires_grad) == (torch.float32, True)
    assert float(epsilon) == pytest.approx(0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_that_dtype_follows_the_layers_other_parameters(dtype: torch.dtype) -> None:
    model = nn.Sequential(Linear8bit(4, 8), nn.GELU(), Linear8bit(8, 4))
    for layer in (model[0], model[2]):
        layer.bias.data = layer.bias.data.to(dtype)
    (epsilon,) = rewriter.rewrite(model, "swap").model[1].parameters()
    assert epsilon.dtype == dtype


@pytest.mark.parametrize("case", ["torch.ao", "packed buffer", "plain linear of integers"])
def test_the_checkpoint_of_a_quantised_model_is_refused_and_changes_nothing(case: str, tmp_path: Path) -> None:
    torch.save(QUANTISED[case][0]().state_dict(), tmp_path / "model.pt")
    model = mlp()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(rewriter.CheckpointError) as refusal:
        load_checkpoint(model, tmp_path / "model.pt")
    assert "\n" not in str(refusal.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
