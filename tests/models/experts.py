"""Mixtures of experts with packed weights, in the ways in which libraries write them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Meet = Callable[[nn.Module, Tensor], Tensor]


def plain(act: nn.Module, values: Tensor) -> Tensor:
    return act(values)


def gate_first(act: nn.Module, values: Tensor) -> Tensor:
    gate, up = values.chunk(2, dim=-1)
    return act(gate) * up


def gate_last(act: nn.Module, values: Tensor) -> Tensor:
    up, gate = values.chunk(2, dim=-1)
    return up * act(gate)


def clamped(act: nn.Module, values: Tensor) -> Tensor:
    gate, up = values.chunk(2, dim=-1)
    return act(gate.clamp(max=10.0)) * up.clamp(-10.0, 10.0)


def shifted(act: nn.Module, values: Tensor) -> Tensor:
    gate, up = values.chunk(2, dim=-1)
    return act(gate) * (up + 1)


def activated_product(act: nn.Module, values: Tensor) -> Tensor:
    gate, up = values.chunk(2, dim=-1)
    return act(gate * up)


def interleaved(act: nn.Module, values: Tensor) -> Tensor:
    return act(values[..., ::2]) * values[..., 1::2]


class Experts(nn.Module):
    """E experts in two tensors; ``meet`` says what stands between the two products."""

    def __init__(
        self, meet: Meet, *, experts: int = 5, width: int = 6, hidden: int = 20, transposed: bool = False
    ) -> None:
        super().__init__()
        self.meet, self.transposed, self.num_experts, self.hidden_dim = meet, transposed, experts, width
        values = hidden if meet is plain else 2 * hidden
        first, second = torch.randn(experts, values, width), torch.randn(experts, width, hidden)
        self.into = nn.Parameter(first.mT.contiguous() if transposed else first)
        self.out = nn.Parameter(second.mT.contiguous() if transposed else second)
        self.act = nn.SiLU()

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        into, out = (self.into, self.out) if self.transposed else (self.into.mT, self.out.mT)
        total = torch.zeros_like(hidden_states)
        for expert in range(self.num_experts):
            token, place = torch.where(top_k_index == expert)
            if token.numel() == 0:
                continue
            values = self.meet(self.act, hidden_states[token].view(-1, self.hidden_dim) @ into[expert])
            total.index_add_(0, token, values @ out[expert] * top_k_weights[token, place, None])
        return total


class SortedExperts(Experts):
    """Every expert takes its own part of the tokens, which its caller has sorted."""

    def forward(self, hidden_states: Tensor) -> Tensor:  # type: ignore[override]
        into, out = (self.into, self.out) if self.transposed else (self.into.mT, self.out.mT)
        values = hidden_states.view(self.num_experts, -1, self.hidden_dim) @ into
        return (self.meet(self.act, values) @ out).view(-1, self.hidden_dim)


class Mixture(nn.Module):
    """A router in front of experts, two for each token."""

    def __init__(self, experts: nn.Module, width: int = 6, count: int = 5) -> None:
        super().__init__()
        self.router = nn.Linear(width, count)
        self.experts = experts

    def forward(self, x: Tensor) -> Tensor:
        weights, index = self.router(x).softmax(-1).topk(2)
        return x + self.experts(x, index, weights)
