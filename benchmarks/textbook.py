"""Blocks as a textbook writes them: one linear layer for each branch, and the formula in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

_ROOT: Final = math.sqrt(2 / math.pi)


def gelu_of_three(x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
    """Return ``½x₁(1 + tanh(k(x₂ + c·x₃³)))``."""
    return 0.5 * x1 * (1 + torch.tanh(_ROOT * (x2 + 0.044715 * x3**3)))


def gelu_of_four(x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor) -> Tensor:
    """Return ``½x₁ + ½x₂·tanh(k(x₃ + c·x₄³))``."""
    return 0.5 * x1 + 0.5 * x2 * torch.tanh(_ROOT * (x3 + 0.044715 * x4**3))


def tanh_of_four(x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor) -> Tensor:
    """Return ``(e^{x₁} − e^{−x₂})/(e^{x₃} + e^{−x₄})`` of branches clamped to ±4."""
    x1, x2, x3, x4 = (x.clamp(-4, 4) for x in (x1, x2, x3, x4))
    return (torch.exp(x1) - torch.exp(-x2)) / (torch.exp(x3) + torch.exp(-x4))


FORMULAS: Final[dict[str, Callable[..., Tensor]]] = {
    "gelu/3": gelu_of_three,
    "gelu/4": gelu_of_four,
    "tanh/4": tanh_of_four,
}


class TextbookBlock(nn.Module):
    """``V·F(W₁x, …, Wₙx)`` with n linears.

    Args:
        decomposition: a key of `FORMULAS`.
        packed: the linear whose output holds all branches, ``D → n·h``; its values are copied.
        project: the linear behind, ``h → O``; shared.
    """

    def __init__(self, decomposition: str, packed: nn.Linear, project: nn.Linear) -> None:
        super().__init__()
        self.formula = FORMULAS[decomposition]
        units = project.in_features
        self.branches = nn.ModuleList()
        for weight, bias in zip(torch.split(packed.weight, units), torch.split(packed.bias, units), strict=True):
            branch = nn.Linear(packed.in_features, units, device=weight.device, dtype=weight.dtype)
            branch.load_state_dict({"weight": weight, "bias": bias})
            self.branches.append(branch)
        self.project = project

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[…, D]`` to ``[…, O]``."""
        result: Tensor = self.project(self.formula(*(branch(x) for branch in self.branches)))
        return result
