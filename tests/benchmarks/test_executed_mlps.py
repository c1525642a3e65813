"""The independent account of activations between two linear maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.executed_mlps import executed_mlps


class Net(nn.Module):
    """Three layers in an arrangement given as a function."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.experts = nn.Parameter(torch.randn(3, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def written_out(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def attention(m: Any, x: Tensor) -> Tensor:
    return m.c(torch.softmax(F.relu(m.a(x)) @ m.b(x).transpose(-1, -2), -1) @ x)


COUNTS: dict[str, tuple[Callable[[Any, Tensor], Tensor], int]] = {
    "plain": (lambda m, x: m.b(F.gelu(m.a(x))), 1),
    "norm, sum and shape between": (lambda m, x: m.b(m.norm(F.relu((m.a(x) + x).flatten(1)).view_as(x))), 1),
    "gated": (lambda m, x: m.c(F.silu(m.a(x)) * m.b(x)), 1),
    "written out": (lambda m, x: m.b(written_out(m.a(x))), 1),
    "in place": (lambda m, x: m.b(m.a(x).relu_()), 1),
    "packed experts": (lambda m, x: torch.relu(x.expand(3, 2, 4) @ m.experts) @ m.experts, 1),
    "two of three": (lambda m, x: F.relu(m.c(F.relu(m.b(F.relu(m.a(x)))))), 2),
    "before the first layer": (lambda m, x: m.b(m.a(F.relu(x))), 0),
    "behind the last layer": (lambda m, x: F.relu(m.b(m.a(x))), 0),
    "only through attention": (attention, 0),
    "of weights alone": (lambda m, x: m.b(x) @ F.relu(m.a.weight @ m.c.weight), 0),
}


@pytest.mark.parametrize("case", COUNTS)
def test_only_activations_between_two_linear_maps_are_counted(case: str) -> None:
    run, expected = COUNTS[case]
    assert executed_mlps(Net(run), torch.randn(1, 2, 4)) == expected


def test_convolutions_are_linear_maps() -> None:
    convolutions = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))
    assert executed_mlps(convolutions, torch.randn(1, 3, 8, 8)) == 1
