"""Code that takes a list of tensors can give way to a graph that handles the list in the same way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rewriter.tracing.own_forward import NotRewritableError, own_forward
from torch import Tensor, nn

import rewriter
from rewriter.tracing import trace


class Fuse(nn.Module):
    """Maps each item in place of itself, as the branches of HRNet do, then joins them."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, xs: list[Tensor]) -> Tensor:
        for i, layer in enumerate(self.maps):
            xs[i] = F.gelu(layer(xs[i]))
        return torch.cat(xs, -1)


class Appends(Fuse):
    def forward(self, xs: list[Tensor]) -> Tensor:
        y = super().forward(xs)
        xs.append(y)
        return y


class Model(nn.Module):
    def __init__(self, fuse: nn.Module) -> None:
        super().__init__()
        self.left, self.right, self.fuse = nn.Linear(4, 4), nn.Linear(4, 4), fuse
        self.last = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        xs = [self.left(x), self.right(x)]
        joined = self.fuse(xs)
        return self.last(torch.cat([joined, *xs[:2]], -1))  # the caller sees what the block did to its list


def test_a_graph_reads_and_sets_the_items_as_the_code_did() -> None:
    model = Model(Fuse())
    result = rewriter.rewrite(model, "swap", activation="relu")
    assert {site.path for site in result.recipe.sites} == {"fuse:1", "fuse:3"}
    x = torch.randn(3, 4)
    expected = [F.relu(layer(side(x))) for layer, side in zip(model.fuse.maps, (model.left, model.right), strict=True)]
    torch.testing.assert_close(result.model(x), model.last(torch.cat(expected * 2, -1)))


def test_a_list_changed_in_another_way_is_refused_with_its_name() -> None:
    with pytest.raises(NotRewritableError, match="changes the list xs in a way that a graph cannot repeat"):
        own_forward(trace(Model(Appends())), "fuse")
