from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

import rewriter


@functools.lru_cache(maxsize=4)
def positions(length: int, device: torch.device) -> Tensor:
    return torch.arange(length, device=device).float()


class AddsPositions(nn.Module):
    """Cannot be traced: a number of turns is no traced value."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.activation, self.project = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(x.shape[0]):
            x = x + positions(x.shape[1], x.device)
        return self.project(self.activation(self.expand(x)))


def test_a_cached_table_is_no_tensor_without_values_afterwards() -> None:
    positions.cache_clear()
    capture = rewriter.capture(AddsPositions(), torch.zeros(2, 8))
    assert [site.kind for site in capture.sites] == ["mlp"]
    assert type(positions(8, torch.device("cpu"))) is Tensor


def test_a_cache_that_the_model_does_not_add_to_is_kept() -> None:
    kept = positions(7, torch.device("cpu"))
    rewriter.capture(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)), torch.zeros(2, 4))
    assert positions(7, torch.device("cpu")) is kept
