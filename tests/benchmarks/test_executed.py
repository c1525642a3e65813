"""The independent account of activations that run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.executed import executed_activations, never_seen


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.GELU()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.inner(self.act(self.act(x))))


def test_activations_are_counted_by_the_modules_that_run() -> None:
    counts = executed_activations(Mixed(), torch.randn(2, 3))
    assert counts == {("", "act"): 2, ("", "inner", "inner.1"): 1, ("",): 1}


def test_counting_runs_without_weights_and_leaves_the_model_as_it_was() -> None:
    with torch.device("meta"):
        model = Mixed().train()
        counts = executed_activations(model, torch.randn(2, 3))
    assert sum(counts.values()) == 4
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_no_site_or_miss_names_is_never_seen() -> None:
    counts = executed_activations(Mixed(), torch.randn(2, 3))
    assert never_seen(counts, ["act"]) == ["inner.1", ""]
    assert never_seen(counts, ["act", "inner.1", "(model):3"]) == []


def test_a_call_in_the_code_of_the_caller_accounts_for_the_module_it_calls() -> None:
    counts = executed_activations(Mixed(), torch.randn(2, 3))
    assert never_seen(counts, ["(model):0", "(model):1", "inner:1"]) == []
