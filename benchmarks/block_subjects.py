"""The blocks of the block benchmark: an MLP, its rewrite, and the same rewrite as a textbook writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

import rewriter
from benchmarks.textbook import FORMULAS, TextbookBlock
from rewriter.bench.interleaved import Call
from rewriter.bench.settings import Settings

_ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {"gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Block:
    """A block to measure.

    Attributes:
        decomposition: its name in the library, or an expression.
        width: how its hidden width was chosen, as the option of `rewriter.rewrite`.
        activation: of the MLP.
        mlp: what is replaced.
        rewritten: what replaces it.
        textbook: the same with a linear for each branch; None where no formula is written out.
        hidden: hidden width of the rewritten block.
        branches: number of its branches.
    """

    decomposition: str
    width: str
    activation: str
    mlp: nn.Module
    rewritten: nn.Module
    textbook: nn.Module | None
    hidden: int
    branches: int

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.decomposition} {self.width}"

    @property
    def combine(self) -> nn.Module:
        """The function of the packed branches."""
        return self.rewritten.get_submodule("1")


def mlp(activation: str, width: int, hidden: int) -> nn.Sequential:
    """Make an MLP with a fixed seed."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, hidden), _ACTIVATIONS[activation](), nn.Linear(hidden, width))


def block(
    decomposition: str, activation: str, width: str, features: int, hidden: int, settings: Settings, **options: Any
) -> Block:
    """Rewrite an MLP by HD-FGD and place what is measured on the device of the settings."""
    original = mlp(activation, features, hidden)
    found = rewriter.rewrite(original, "hdfgd", decomposition=decomposition, width=width, **options)
    rewritten = found.model
    first, last = rewritten.get_submodule("0"), rewritten.get_submodule("2")
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    textbook = TextbookBlock(decomposition, first, last) if decomposition in FORMULAS else None
    for module in filter(None, (original, rewritten, textbook)):
        module.to(device=settings.device, dtype=settings.dtype)
    branches = found.recipe.sites[0].placement.branches
    return Block(decomposition, width, activation, original, rewritten, textbook, last.in_features, branches)


def block_step(module: nn.Module, tokens: int, features: int, settings: Settings, backward: bool) -> Call:
    """Return a call of a module on ``[tokens, features]`` normal values.

    Forward runs without gradients; with ``backward`` the gradients of the input and of every parameter are made, too.
    """
    values = torch.randn(tokens, features, generator=torch.Generator().manual_seed(0))
    inputs = values.to(device=settings.device, dtype=settings.dtype).requires_grad_(backward)
    wanted = [inputs, *module.parameters()]

    def forward() -> None:
        with torch.no_grad(), settings.autocast():
            module(inputs)

    def step() -> None:
        with settings.autocast():
            outputs = module(inputs)
        torch.autograd.grad(outputs, wanted, torch.ones_like(outputs))

    return step if backward else forward
