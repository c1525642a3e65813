from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.view import ExportView, portable_view
from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec


class Subtract(nn.Module):
    def forward(self, left: Tensor, scale: float = 1.0, right: Tensor | None = None) -> Tensor:
        return left * scale if right is None else left * scale - right


class Anything(nn.Module):
    def forward(self, **tensors: Tensor) -> Tensor:
        return tensors["a"] - tensors["b"]


class Either(nn.Module):
    def forward(self, *args: Tensor) -> Tensor:
        return args[0] - args[1]


@pytest.mark.parametrize(
    ("model", "names", "by_keyword"),
    [
        (Subtract(), ["left", "right"], True),
        (Subtract(), ["left"], False),
        (Anything(), ["a", "b"], True),
        (Either(), ["a", "b"], False),
    ],
)
def test_tensors_reach_the_parameters_they_are_named_for(model: nn.Module, names: list[str], by_keyword: bool) -> None:
    view = ExportView(model, names)
    tensors = [torch.tensor([5.0]), torch.tensor([2.0])][: len(names)]
    assert view.by_keyword is by_keyword
    assert view(*tensors).item() == (3.0 if len(names) == 2 else 5.0)


def test_an_unknown_name_is_only_a_label() -> None:
    model = nn.Sequential(nn.Identity())
    assert ExportView(model, ["pixels"])(torch.ones(2)).tolist() == [1.0, 1.0]


def test_the_model_stays_in_its_mode_with_its_gradients_and_caches() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Linear(8, 2)).train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    setup: Any = SimpleNamespace(use_cache=True)
    model.config = setup
    view = portable_view(model, [InputSpec(name="input", shape=(8,))])
    assert not any(module.training for module in view.modules())
    assert not any(parameter.requires_grad for parameter in view.parameters())
    assert view.model.config.use_cache is False  # type: ignore[union-attr]
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
    assert setup.use_cache is True


def test_examples_have_the_dtype_of_the_weights_and_integers_stay() -> None:
    specs = [InputSpec(name="left", shape=(8,)), InputSpec(name="ids", shape=(4,), dtype="int64", high=9)]
    view = ExportView(nn.Linear(8, 2).half(), ["left", "ids"])
    assert [tensor.dtype for tensor in view.examples(specs, 2)] == [torch.float16, torch.int64]


def test_a_model_without_known_inputs_is_refused() -> None:
    with pytest.raises(UsageError, match="--input-shape"):
        portable_view(nn.Linear(1, 1), [])


@pytest.mark.parametrize("weights", [torch.float16, torch.bfloat16])
def test_weights_of_another_dtype_are_computed_with_and_callers_need_not_know(weights: torch.dtype) -> None:
    model = nn.Linear(8, 2)
    view = portable_view(model, [InputSpec(name="input", shape=(8,))], weights)
    tensor = torch.randn(3, 8)
    assert (view.model.weight.dtype, model.weight.dtype) == (weights, torch.float32)  # type: ignore[union-attr]
    expected = torch.nn.functional.linear(tensor.to(weights), model.weight.to(weights), model.bias.to(weights))
    assert torch.equal(view(tensor), expected.float())
