"""Counting parameters."""

from __future__ import annotations

from torch import nn


def count_parameters(module: nn.Module) -> int:
    """Count the parameters of a module and its children, tied ones once, frozen ones too."""
    return sum(parameter.numel() for parameter in module.parameters())
